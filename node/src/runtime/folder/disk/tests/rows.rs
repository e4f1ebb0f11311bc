//! The index on disk.

use super::*;

fn row(key: &str, value: Option<&str>) -> Row {
    Row { key: key.into(), value: value.map(|value| value.as_bytes().to_vec()) }
}

fn persist(rig: &mut Rig, rows: Vec<Row>) {
    assert_eq!(rig.ask(Order::Persist { rows: rows.into() }), Done::Persisted(Ok(())));
}

#[test]
fn rows_are_there_again_after_a_restart() {
    let mut rig = Rig::new();
    persist(&mut rig, vec![row("a", Some("1")), row("\0sequence", Some("7")), row("b", Some("2"))]);
    persist(&mut rig, vec![row("a", Some("3")), row("b", None), row("none", None)]);
    let rig = rig.again();
    assert_eq!(rig.opened.rows, [row("\0sequence", Some("7")), row("a", Some("3"))]);
}

#[test]
fn rows_wait_for_what_was_placed_before_and_are_written_at_the_close() {
    let mut rig = Rig::new();
    let places: Vec<_> = (0..300).map(|n| rig.give(Order::Place(memory(&format!("{n}"), &[n as u8; 100])))).collect();
    let rows = rig.give(Order::Persist { rows: [row("all", Some("placed"))].into() });
    let later = rig.give(Order::Place(memory("later", b"x")));
    rig.disk.as_mut().unwrap().close();
    let mut told = Vec::new();
    while told.len() < 302 {
        told.push(rig.hear().0);
    }
    let position = |order| told.iter().position(|of| *of == order).unwrap();
    assert!(places.iter().all(|place| position(*place) < position(rows)));
    let refused = rig.ask(Order::Look { path: at("later") });
    assert_eq!(refused, Done::Looked(Err(Trouble::Broken)), "it is closed");
    let rig = rig.again();
    assert_eq!(rig.opened.rows, [row("all", Some("placed"))]);
    assert!(rig.path("later").exists() && later > 0);
}

#[test]
fn a_damaged_index_is_put_aside_and_a_new_one_begun() {
    let mut rig = Rig::new();
    persist(&mut rig, (0..500).map(|n| row(&format!("key {n}"), Some(&"value".repeat(40)))).collect());
    let index = rig.path(".p2pnet/index.redb");
    for (n, damage) in [(1, 0_usize), (2, 1), (3, 2)] {
        drop(rig.disk.take());
        let mut bytes = fs::read(&index).unwrap();
        match damage {
            0 => bytes.truncate(100),
            1 => bytes.fill(0xAB),
            _ => {
                let at = bytes.windows(5).position(|window| window == b"value").unwrap();
                bytes[at] ^= 1;
            }
        }
        fs::write(&index, &bytes).unwrap();
        let Rig { folder, .. } = rig;
        rig = Rig::over(folder, Room::default());
        assert!(rig.opened.rows.is_empty() && !rig.opened.is_new, "damage {damage}");
        assert_eq!(fs::read(rig.path(&format!(".p2pnet/index.redb.bad-{n}"))).unwrap().len(), bytes.len());
        persist(&mut rig, vec![row("new", Some("value"))]);
    }
    assert_eq!(rig.again().opened.rows.len(), 1);
}
