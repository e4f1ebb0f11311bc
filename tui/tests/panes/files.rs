//! The pane of the shared folder, and files in the rest of the screen.

use p2pnet::{
    model::files::FilesFace,
    view::theme::{Depth, Theme},
};
use ratatui::{crossterm::event::KeyCode, style::Color};

use super::{SIZES, draw, fakes::*, find, folders::*, press, snapshot, snapshots, text};

#[test]
fn no_folder_at_all() {
    let mut model = many_model(3);
    press(&mut model, KeyCode::Char('8'));
    snapshots("files_none", &mut model);
    press(&mut model, KeyCode::Char('o'));
    assert!(text(&draw(&model)).contains("no node has told of a folder"));
}

#[test]
fn folders_that_are_empty() {
    let mut model = folders_model(3, 0);
    press(&mut model, KeyCode::Char('8'));
    snapshots("files_empty", &mut model);
    press(&mut model, KeyCode::Char('o'));
    let screen = text(&draw(&model));
    assert!(screen.contains("the folder is empty"), "{screen}");
}

#[test]
fn a_node_alone_with_a_folder() {
    let mut model = folders_model(0, 12);
    press(&mut model, KeyCode::Char('8'));
    for size in SIZES {
        model.size = size;
        assert!(text(&draw(&model)).contains("1 of 1 agree"), "{size:?}");
    }
}

#[test]
fn four_nodes_syncing() {
    let mut model = syncing_model();
    press(&mut model, KeyCode::Char('8'));
    snapshots("files_syncing", &mut model);
    press(&mut model, KeyCode::Char('o'));
    snapshots("files_heat", &mut model);
    press(&mut model, KeyCode::Char('z'));
    snapshots("files_zoom", &mut model);
}

#[test]
fn a_hundred_nodes_with_the_same_files() {
    let mut model = folders_model(100, 400);
    press(&mut model, KeyCode::Char('8'));
    snapshots("files_idle", &mut model);
    press(&mut model, KeyCode::Char('G'));
    assert!(text(&draw(&model)).contains("node100"));
}

#[test]
fn one_file_on_a_hundred_nodes() {
    let mut model = hundred_model();
    press(&mut model, KeyCode::Char('8'));
    press(&mut model, KeyCode::Char('o'));
    snapshots("files_hundred", &mut model);
}

#[test]
fn an_upload_that_is_lost_is_red_wherever_one_looks() {
    let mut model = lost_model();
    press(&mut model, KeyCode::Char('8'));
    snapshots("files_lost", &mut model);
    model.theme = Theme::new(Depth::True, false);
    for size in SIZES {
        model.size = size;
        let buffer = draw(&model);
        for words in ["1 lost", "lost 1", "DEAD", "FULL"] {
            let at = find(&buffer, words).unwrap_or_else(|| panic!("{words} {size:?}\n{}", text(&buffer)));
            assert_eq!(buffer[at].fg, Color::Rgb(0xD5, 0x5E, 0x00), "{words} {size:?}");
        }
        assert!(text(&buffer).contains("PAUSED"), "{size:?}");
    }
}

#[test]
fn a_conflict_copy_is_marked_and_a_name_moves_no_cursor() {
    let mut model = conflict_model();
    press(&mut model, KeyCode::Char('8'));
    snapshots("files_conflict", &mut model);
    let screen = text(&draw(&model));
    assert!(screen.contains("! notes/plan.conflict-") && !screen.contains('\u{1b}'), "{screen}");
    press(&mut model, KeyCode::Esc);
    assert!(model.files.selected.is_none(), "Esc lets go of it");
}

#[test]
fn the_folder_without_colour_and_without_unicode() {
    let mut model = syncing_model();
    model.size = (160, 45);
    press(&mut model, KeyCode::Char('8'));
    press(&mut model, KeyCode::Char('o'));
    press(&mut model, KeyCode::Char('z'));
    model.theme = Theme::new(Depth::Mono, false);
    let buffer = draw(&model);
    let coloured = buffer.content().iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count();
    assert_eq!(coloured, 0, "NO_COLOR means no colour");
    model.theme = Theme::new(Depth::Mono, true);
    let screen = text(&draw(&model));
    assert!(screen.is_ascii(), "{screen}");
    snapshot("files_ascii_160x45", screen);
}

#[test]
fn keys_go_to_the_nodes_or_to_the_files() {
    let mut model = folders_model(3, 12);
    model.size = (160, 45);
    press(&mut model, KeyCode::Char('8'));
    press(&mut model, KeyCode::Char('j'));
    assert_eq!(model.nodes.selected.as_ref().unwrap().as_str(), "node1");
    press(&mut model, KeyCode::Char('o'));
    assert_eq!(model.files.face, FilesFace::Files);
    press(&mut model, KeyCode::Char('j'));
    press(&mut model, KeyCode::Char('j'));
    assert_eq!(model.files.selected.as_ref().unwrap().as_str(), "photos/2025/002.jpg");
    press(&mut model, KeyCode::Char('s'));
    assert_eq!(model.files.listing.files[0].path.as_str(), "photos/2025/012.jpg", "the largest first");
    press(&mut model, KeyCode::Char('r'));
    assert_eq!(model.files.listing.files[0].path.as_str(), "photos/2025/001.jpg");
    assert_eq!(model.nodes.selected.as_ref().unwrap().as_str(), "node1", "the selected node is as it was");
}

/// Not a promise but a figure: printed with `--nocapture`.
#[test]
fn one_draw_of_a_hundred_folders() {
    let mut model = hundred_model();
    press(&mut model, KeyCode::Char('8'));
    press(&mut model, KeyCode::Char('z'));
    model.size = (160, 45);
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let start = std::time::Instant::now();
    const DRAWS: u32 = 100;
    (0..DRAWS).for_each(|_| _ = draw(&model));
    let each = start.elapsed() / DRAWS;
    println!("one draw of a hundred folders: {each:?}");
    assert!(each.as_millis() < 100, "{each:?}");
}
