//! A terminal around the real dashboard: keys in, screen out, as a person has it.

#![allow(unreachable_pub, dead_code, reason = "shared by several test programs, each of which uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::support::{Lab, until};

/// A program in a terminal of its own.
pub struct Terminal {
    parser: Arc<Mutex<vt100::Parser>>,
    writer: Box<dyn Write + Send>,
    /// The program.
    pub child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// Starts `p2pnet ARGS` on `lab`'s network in a terminal of `columns` × `rows`.
    pub fn open(lab: &Lab, args: &[&str], columns: u16, rows: u16) -> Self {
        Self::open_with(lab, args, &[], columns, rows)
    }

    /// The same with more in its environment.
    pub fn open_with(lab: &Lab, args: &[&str], environment: &[(&str, &str)], columns: u16, rows: u16) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_p2pnet"));
        command.args(args);
        command.args(["--network", &lab.network]);
        command.env("XDG_STATE_HOME", lab.state_home());
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("p2pnet runs in a terminal");
        drop(pair.slave);
        let parser = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
        let mut reader = pair.master.try_clone_reader().expect("the terminal can be read");
        let writer = pair.master.take_writer().expect("the terminal can be written");
        let screen = parser.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                screen.lock().unwrap().process(&buffer[..read]);
            }
        });
        Self { parser, writer, child, _master: pair.master }
    }

    /// Types, as a keyboard would send it.
    pub fn keys(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self.writer.flush().expect("the terminal takes keys");
    }

    /// What is on the screen now, a line a row.
    pub fn screen(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as `holds` says, looking every 2 ms; how long it took.
    ///
    /// # Panics
    /// With the screen as it is, when it does not come true within `deadline`.
    pub fn wait_for(&self, what: &str, deadline: Duration, holds: impl Fn(&str) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return started.elapsed();
            }
            assert!(started.elapsed() < deadline, "not on screen within {deadline:?}: {what}\n{screen}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// When it does not end within `deadline`.
    pub fn wait_end(&mut self, deadline: Duration) -> portable_pty::ExitStatus {
        until("the program ends", deadline, || self.child.try_wait().expect("the program is ours"))
    }

    /// Whether the terminal is as it was: main screen, cursor visible.
    pub fn is_given_back(&self) -> bool {
        let parser = self.parser.lock().unwrap();
        !parser.screen().alternate_screen() && !parser.screen().hide_cursor() && !parser.screen().bracketed_paste()
    }
}

fn cells(count: u16) -> std::num::NonZero<u16> {
    std::num::NonZero::new(count).expect("a terminal has rows and columns")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
