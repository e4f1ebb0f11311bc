//! The screen, drawn into memory: what it says at each size, and that no size makes it fail.

use p2pnet::{
    keys::BINDINGS,
    message::Message,
    model::{
        Dialog, Model, Opening,
        files::FilesFace,
        pane::{Beside, Pane},
        ring::RingFace,
    },
    prompt::Mode,
    update::update,
    view::{
        theme::{Depth, Theme},
        view,
    },
};
use p2pnet_shared::NodeName;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::{Color, Modifier},
};

#[path = "panes/fakes.rs"]
mod fakes;
#[path = "panes/files.rs"]
mod files;
#[path = "panes/folders.rs"]
mod folders;
#[path = "panes/ring.rs"]
mod ring;
#[path = "panes/store.rs"]
mod store;
use fakes::*;

fn draw(model: &Model) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    terminal.draw(|frame| view(model, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content().chunks(width).map(|row| {
        let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn press(model: &mut Model, code: KeyCode) {
    let key = KeyEvent::new(code, KeyModifiers::NONE);
    update(model, model.now, Message::Key(key));
}

fn type_in(model: &mut Model, line: &str) {
    for letter in line.chars() {
        press(model, KeyCode::Char(letter));
    }
}

const SIZES: [(u16, u16); 3] = [(160, 45), (100, 30), (80, 24)];

/// One snapshot at each of the three sizes.
fn snapshots(name: &str, model: &mut Model) {
    for (columns, rows) in SIZES {
        update(model, model.now, Message::Resized(columns, rows));
        snapshot(format!("{name}_{columns}x{rows}"), text(&draw(model)));
    }
}

/// One snapshot, beside all others.
fn snapshot(name: impl Into<String>, screen: String) {
    insta::assert_snapshot!(name.into(), screen);
}

#[test]
fn starting() {
    snapshots("starting", &mut starting_model());
}

#[test]
fn a_hundred_nodes_converged() {
    snapshots("converged", &mut converged_model());
}

#[test]
fn one_dead_and_converging() {
    snapshots("one_dead", &mut one_dead_model());
}

#[test]
fn engine_lost() {
    snapshots("engine_lost", &mut engine_lost_model());
}

#[test]
fn it_could_not_be_opened() {
    snapshots("failed", &mut failed_model());
}

#[test]
fn help() {
    let mut model = converged_model();
    press(&mut model, KeyCode::Char('?'));
    snapshots("help", &mut model);
    let screen = text(&draw(&model));
    assert!(screen.contains(BINDINGS[0].help), "the help is made from the key table");
}

#[test]
fn the_prompt_proposes() {
    let mut model = converged_model();
    type_in(&mut model, ":kill node1");
    snapshots("prompt_completion", &mut model);
}

#[test]
fn the_prompt_refuses_and_keeps_the_line() {
    let mut model = converged_model();
    type_in(&mut model, ":kill 9 --signal HUP");
    press(&mut model, KeyCode::Enter);
    snapshots("prompt_error", &mut model);
    let buffer = draw(&model);
    let wrong = find(&buffer, "HUP").expect("the line stays");
    assert!(buffer[wrong].modifier.contains(Modifier::UNDERLINED));
}

#[test]
fn the_selected_nodes_peers() {
    let mut model = one_dead_model();
    model.nodes.selected = Some(NodeName::numbered(3));
    with_members(&mut model, 3);
    press(&mut model, KeyCode::Char('2'));
    snapshots("peers", &mut model);
}

#[test]
fn the_selected_nodes_links() {
    let mut model = converged_model();
    with_members(&mut model, 3);
    with_overlay(&mut model);
    press(&mut model, KeyCode::Char('2'));
    press(&mut model, KeyCode::Char('o'));
    snapshots("links", &mut model);
    let theme = Theme::new(Depth::Indexed, true);
    model.theme = theme;
    let screen = text(&draw(&model));
    assert!(screen.contains("==== bootstrap") && screen.contains("---- node9"), "also without colour or unicode");
}

#[test]
fn the_selected_nodes_story() {
    let mut model = one_dead_model();
    with_members(&mut model, 7);
    with_story(&mut model);
    press(&mut model, KeyCode::Char('2'));
    snapshots("story_below", &mut model);
    press(&mut model, KeyCode::Char('o'));
    press(&mut model, KeyCode::Char('o'));
    snapshots("story", &mut model);
    press(&mut model, KeyCode::Char('o'));
    for _ in 0..200 {
        press(&mut model, KeyCode::Char('j'));
    }
    assert!(text(&draw(&model)).contains("node100"), "the last member is in sight above the story");
}

#[test]
fn a_trace_says_how_each_copy_came() {
    let mut model = converged_model();
    with_overlay(&mut model);
    press(&mut model, KeyCode::Char('3'));
    press(&mut model, KeyCode::Enter);
    snapshots("ways", &mut model);
}

#[test]
fn an_unfolded_trace() {
    let mut model = converged_model();
    press(&mut model, KeyCode::Char('3'));
    press(&mut model, KeyCode::Char('j'));
    press(&mut model, KeyCode::Enter);
    snapshots("trace", &mut model);
}

#[test]
fn the_curve_and_the_log() {
    let mut model = one_dead_model();
    for (name, digit) in [("agreement", '4'), ("log", '5')] {
        press(&mut model, KeyCode::Char(digit));
        update(&mut model, NOW, Message::Resized(80, 24));
        insta::assert_snapshot!(format!("{name}_80x24"), text(&draw(&model)));
    }
}

#[test]
fn faults_are_in_the_header_and_in_their_pane() {
    let mut model = one_dead_model();
    with_faults(&mut model);
    press(&mut model, KeyCode::Char('6'));
    snapshots("faults", &mut model);
    for size in SIZES {
        model.size = size;
        assert!(text(&draw(&model)).contains("cut 50|51, loss 30%"), "{size:?}");
    }
    let mut model = converged_model();
    press(&mut model, KeyCode::Char('6'));
    update(&mut model, NOW, Message::Resized(100, 30));
    insta::assert_snapshot!("no_faults_100x30", text(&draw(&model)));
}

#[test]
fn questions_are_asked_over_everything() {
    let mut model = converged_model();
    type_in(&mut model, ":kill 20-30");
    press(&mut model, KeyCode::Enter);
    update(&mut model, NOW, Message::Resized(100, 30));
    insta::assert_snapshot!("confirm_100x30", text(&draw(&model)));
    press(&mut model, KeyCode::Char('n'));
    press(&mut model, KeyCode::Esc);
    press(&mut model, KeyCode::Char('Q'));
    insta::assert_snapshot!("quit_100x30", text(&draw(&model)));
}

#[test]
fn without_unicode() {
    let mut model = one_dead_model();
    model.theme = Theme::new(Depth::Mono, true);
    model.size = (160, 45);
    let screen = text(&draw(&model));
    assert!(screen.is_ascii(), "{screen}");
    insta::assert_snapshot!("ascii_160x45", screen);
}

fn find(buffer: &Buffer, needle: &str) -> Option<(u16, u16)> {
    let (width, height) = (buffer.area.width, buffer.area.height);
    let cells: Vec<&str> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).find(|(x, y)| {
        let at = usize::from(*y) * usize::from(width) + usize::from(*x);
        needle.chars().enumerate().all(|(i, letter)| cells.get(at + i).is_some_and(|cell| *cell == letter.to_string()))
    })
}

#[test]
fn a_state_has_its_colour_and_the_selection_is_reversed() {
    let mut model = one_dead_model();
    model.size = (160, 45);
    model.theme = Theme::new(Depth::True, false);
    model.nodes.selected = Some(NodeName::numbered(62));
    let buffer = draw(&model);
    let dead = find(&buffer, "DEAD 3").unwrap();
    assert_eq!(buffer[dead].fg, Color::Rgb(0xD5, 0x5E, 0x00));
    let selected = find(&buffer, "~  node62").unwrap();
    assert!(buffer[selected].modifier.contains(Modifier::REVERSED));
    assert!(!buffer[dead].modifier.contains(Modifier::REVERSED));

    model.theme = Theme::new(Depth::Mono, false);
    let colours =
        draw(&model).content().iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count();
    assert_eq!(colours, 0, "NO_COLOR means no colour");
}

#[test]
fn no_size_makes_it_fail() {
    let mut model = one_dead_model();
    store::with_keys(&mut model, 100, &[7], 3);
    store::with_focus(&mut model, "日本語 key");
    let hundred = folders::hundred_model();
    (model.picture.files, model.files) = (hundred.picture.files, hundred.files);
    model.picture.summary.files = hundred.picture.summary.files;
    with_members(&mut model, 3);
    type_in(&mut model, ":send node4 \"日本語 hello\"");
    let dialogs = [None, Some(Dialog::Help(3)), Some(Dialog::Quit)];
    let mut draws = 0;
    for width in (1..=200).step_by(13).chain([59, 60, 94, 95, 149, 150, 200]) {
        for height in (1..=60).step_by(5).chain([15, 16, 27, 28, 39, 40]) {
            for pane in Pane::ALL {
                if width >= 95 && (pane.digit() + usize::from(height)) % 2 == 0 {
                    continue;
                }
                model.size = (width, height);
                model.focus = pane;
                model.zoom = draws % 2 == 0;
                model.beside = [Beside::Peers, Beside::Ring, Beside::Files][draws % 3];
                model.files.face = if draws % 4 < 2 { FilesFace::Files } else { FilesFace::Nodes };
                model.ring.face = if draws % 7 < 3 { RingFace::Owners } else { RingFace::Circle };
                model.theme = Theme::new(Depth::True, draws % 11 == 0);
                model.traces.expanded = draws % 3 == 0;
                model.dialog = dialogs[draws % dialogs.len()].clone();
                draw(&model);
                draws += 1;
            }
        }
    }
    assert!(draws > 1_000, "{draws}");
}

#[test]
fn a_thousand_rows_are_scrolled_by_what_is_in_sight() {
    let mut model = many_model(999);
    update(&mut model, NOW, Message::Resized(160, 45));
    press(&mut model, KeyCode::Char('G'));
    let screen = text(&draw(&model));
    assert!(screen.contains("node999"), "{screen}");
    assert!(screen.contains("1000/1000"), "{screen}");
}

/// Not a promise but a figure: printed with `--nocapture`.
#[test]
fn one_draw_with_a_thousand_nodes() {
    let mut model = many_model(1_000);
    model.size = (160, 45);
    let mut terminal = Terminal::new(TestBackend::new(160, 45)).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let start = std::time::Instant::now();
    const DRAWS: u32 = 200;
    for i in 0..DRAWS {
        model.now.0 += u64::from(i);
        terminal.draw(|frame| view(&model, frame)).unwrap();
    }
    let each = start.elapsed() / DRAWS;
    println!("one draw at 160x45 with 1,000 nodes: {each:?}");
    assert!(each.as_millis() < 50, "a key press is to be on screen within 50 ms: {each:?}");
    assert_eq!(model.opening, Opening::Open);
    assert_eq!(model.prompt.mode, Mode::Idle);
}

/// Found by fuzzing: the axis multiplied a stamp that an engine had made up.
#[test]
fn a_mark_from_the_far_future_stays_on_the_axis() {
    let mut model = converged_model();
    model.agreement.mark(p2pnet_shared::UnixMillis(u64::MAX - 1), p2pnet::model::agreement::MarkKind::Up);
    for (columns, rows) in SIZES {
        update(&mut model, NOW, Message::Resized(columns, rows));
        press(&mut model, KeyCode::Char('4'));
        assert!(text(&draw(&model)).contains("now"));
    }
}
