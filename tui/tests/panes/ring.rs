//! The pane of the ring, the table of owners, and keys in the rest of the screen.

use p2pnet::{
    message::Message,
    model::ring::{OwnersBy, RingFace},
    update::update,
    view::theme::{Depth, Theme},
};
use p2pnet_shared::NodeName;
use ratatui::{crossterm::event::KeyCode, style::Color};

use super::{SIZES, draw, fakes::*, find, press, snapshot, snapshots, store::*, text};

#[test]
fn a_ring_nobody_has_reported() {
    let mut model = starting_model();
    press(&mut model, KeyCode::Char('7'));
    snapshots("ring_unknown", &mut model);
}

#[test]
fn a_ring_without_keys() {
    let mut model = many_model(100);
    with_keys(&mut model, 0, &[], 0);
    press(&mut model, KeyCode::Char('7'));
    snapshots("ring_no_keys", &mut model);
}

#[test]
fn a_node_alone() {
    let mut model = many_model(0);
    with_keys(&mut model, 12, &[], 0);
    press(&mut model, KeyCode::Char('7'));
    snapshots("ring_alone", &mut model);
}

#[test]
fn a_hundred_nodes_with_keys() {
    let mut model = keys_model();
    model.nodes.selected = Some(NodeName::numbered(17));
    press(&mut model, KeyCode::Char('7'));
    snapshots("ring", &mut model);
    press(&mut model, KeyCode::Char('z'));
    snapshots("ring_zoom", &mut model);
}

#[test]
fn one_dead_under_replicated_and_handing_over() {
    let mut model = repairing_model();
    press(&mut model, KeyCode::Char('7'));
    snapshots("ring_repair", &mut model);
    press(&mut model, KeyCode::Char('1'));
    update(&mut model, NOW, Message::Resized(160, 45));
    let screen = text(&draw(&model));
    assert!(screen.contains("7 Ring") && screen.contains("1 Nodes"), "the ring stays beside the nodes");
}

#[test]
fn the_key_looked_at_lights_its_holders() {
    let mut model = keys_model();
    with_focus(&mut model, "user:42/äpfel");
    press(&mut model, KeyCode::Char('7'));
    snapshots("ring_key", &mut model);
    for size in SIZES {
        model.size = size;
        let screen = text(&draw(&model));
        for (name, _) in &model.picture.ring.key.as_ref().unwrap().replicas {
            assert!(screen.contains(name.as_str()), "{name} at {size:?}");
        }
    }
    press(&mut model, KeyCode::Esc);
    assert!(model.ring.key.is_none() && model.picture.ring.key.is_none(), "Esc lets go of it");
}

#[test]
fn the_table_of_owners() {
    let mut model = keys_model();
    with_bad_disks(&mut model);
    press(&mut model, KeyCode::Char('7'));
    press(&mut model, KeyCode::Char('o'));
    assert_eq!(model.ring.face, RingFace::Owners);
    snapshots("owners", &mut model);
    let sorts: Vec<OwnersBy> = (0..5)
        .map(|_| {
            press(&mut model, KeyCode::Char('s'));
            model.ring.sort
        })
        .collect();
    assert_eq!(sorts, [OwnersBy::Keys, OwnersBy::Share, OwnersBy::Bytes, OwnersBy::Disk, OwnersBy::Name]);
    press(&mut model, KeyCode::Char('G'));
    let screen = text(&draw(&model));
    assert!(screen.contains("node100") && screen.contains("101/101"), "{screen}");
}

#[test]
fn a_bad_disk_is_a_red_row_with_its_reason() {
    let mut model = keys_model();
    with_bad_disks(&mut model);
    press(&mut model, KeyCode::Char('7'));
    press(&mut model, KeyCode::Char('1'));
    model.size = (160, 45);
    model.theme = Theme::new(Depth::True, false);
    let buffer = draw(&model);
    let row = find(&buffer, "node4 ").unwrap();
    assert_eq!(buffer[row].fg, Color::Rgb(0xD5, 0x5E, 0x00));
    let screen = text(&buffer);
    assert!(screen.contains("DISK FULL: no room") && screen.contains("DISK BROKEN: cannot be"), "{screen}");
    snapshot("bad_disks_160x45", screen);
}

#[test]
fn one_copy_left_is_red_in_the_top_lines_before_anything_is_lost() {
    let mut model = repairing_model();
    assert!(model.picture.ring.copies[1] > 0 && model.picture.ring.copies[0] == 0);
    model.theme = Theme::new(Depth::True, false);
    for (size, words) in
        SIZES.iter().zip(["4 on one, 266 short", "under-replicated, 4 on one node", "under-replicated, 4 on one"])
    {
        model.size = *size;
        let buffer = draw(&model);
        let at = find(&buffer, words).unwrap_or_else(|| panic!("{size:?}\n{}", text(&buffer)));
        assert!(at.1 < 5, "in the top lines");
        assert_eq!(buffer[at].fg, Color::Rgb(0xD5, 0x5E, 0x00), "{size:?}");
    }
}

#[test]
fn a_key_that_is_only_on_a_paused_node_is_not_called_gone() {
    let mut model = repairing_model();
    let ring = &mut model.picture.ring;
    (ring.copies[0], ring.copies[1], ring.on_paused) = (3, 1, 3);
    for size in SIZES {
        model.size = size;
        let screen = text(&draw(&model));
        assert!(screen.contains("paused, 266 short") || screen.contains("3 on paused nodes"), "{size:?} {screen}");
        assert!(!screen.contains("gone"), "{size:?} {screen}");
    }
    model.picture.ring.unreachable = 2;
    assert!(text(&draw(&model)).contains("2 gone"));
}

#[test]
fn a_thousand_nodes_on_one_circle() {
    let mut model = many_model(999);
    with_keys(&mut model, 10_000, &[5], 100);
    model.nodes.selected = Some(NodeName::numbered(500));
    press(&mut model, KeyCode::Char('7'));
    snapshots("ring_thousand", &mut model);
}

#[test]
fn the_ring_without_colour_and_without_unicode() {
    let mut model = repairing_model();
    with_focus(&mut model, "apple");
    press(&mut model, KeyCode::Char('7'));
    model.size = (160, 45);
    model.theme = Theme::new(Depth::Mono, false);
    let buffer = draw(&model);
    let coloured = buffer.content().iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count();
    assert_eq!(coloured, 0, "NO_COLOR means no colour");
    assert!(text(&buffer).contains('⠉') || text(&buffer).contains('⠒'));
    model.theme = Theme::new(Depth::Mono, true);
    let screen = text(&draw(&model));
    assert!(screen.is_ascii(), "{screen}");
    snapshot("ring_ascii_160x45", screen);
    press(&mut model, KeyCode::Char('o'));
    assert!(text(&draw(&model)).is_ascii());
}

/// Not a promise but a figure: printed with `--nocapture`.
#[test]
fn one_draw_of_a_ring_with_6464_tokens() {
    let mut model = repairing_model();
    press(&mut model, KeyCode::Char('7'));
    press(&mut model, KeyCode::Char('z'));
    let worked_out = model.ring.arcs.worked_out();
    for size in [(160, 45), (80, 24)] {
        model.size = size;
        let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(size.0, size.1)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a measurement")]
        let start = std::time::Instant::now();
        const DRAWS: u32 = 100;
        for i in 0..DRAWS {
            update(&mut model, NOW, Message::FrameDue);
            model.picture.at.0 += u64::from(i);
            terminal.draw(|frame| p2pnet::view::view(&model, frame)).unwrap();
        }
        let each = start.elapsed() / DRAWS;
        println!("one draw of the ring at {size:?}: {each:?}");
        assert!(each.as_millis() < 33, "thirty a second while something moves: {each:?}");
    }
    assert_eq!(model.ring.arcs.worked_out(), worked_out, "arcs are worked out once and not per frame");
}
