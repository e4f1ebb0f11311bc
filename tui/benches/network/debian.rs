//! Programs to compare with: where they are; Debian's package is fetched where they are not, and nothing is installed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::processes::can_start;

/// The path of a `program` that runs, on the PATH or from Debian's package `package`, where it is `/usr/bin/PROGRAM`.
///
/// # Errors
/// Why there is none, and what to do, in two lines.
pub(crate) fn find(program: &str, package: &str, home: &str) -> Result<PathBuf, String> {
    if can_start(program) {
        return Ok(program.into());
    }
    let why = match fetch(&std::env::temp_dir().join(program), program, package) {
        Ok(program) => return Ok(program),
        Err(why) => why,
    };
    Err(format!(
        "error: no `{program}` to compare with: {why}\nhint: `apt-get install {package}` on Debian and its kin (`apt-get \
         update` first where there are no lists), or put the program from {home} on the PATH"
    ))
}

/// Debian's package, unpacked into the benchmark's own folder: this needs no root, starts no service and goes with the
/// folder.
fn fetch(folder: &Path, program: &str, package: &str) -> Result<PathBuf, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("could not make {}: {error}", folder.display()))?;
    if !can_start("apt-get") {
        return Err("there is no apt-get to fetch it with".to_owned());
    }
    eprintln!("fetching Debian's package {package}");
    run(Command::new("apt-get").args(["download", package]).current_dir(folder))?;
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let file = entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "deb"));
    let file = file.ok_or("apt-get download left no package")?;
    run(Command::new("dpkg").arg("-x").arg(file).arg(folder))?;
    let program = folder.join("usr/bin").join(program);
    run(Command::new(&program).arg("--version"))?;
    Ok(program)
}

fn run(command: &mut Command) -> Result<(), String> {
    let what = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("`{what}` does not run: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    if output.status.success() { Ok(()) } else { Err(format!("`{what}` failed: {words}")) }
}
