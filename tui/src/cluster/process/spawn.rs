//! Starting a unit as a process that outlives us.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use p2pnet_shared::NodeName;

use super::{
    proc::{self, Life},
    record::Record,
};
use crate::{
    cluster::{
        MEMORY, Role,
        engine::{Draft, Plan},
        folders,
    },
    failure::Failure,
};

/// What a unit keeps of our environment. Everything else could be mistaken for one of its settings.
const KEPT: [&str; 6] = ["PATH", "HOME", "TZ", "LANG", "RUST_LOG", "RUST_BACKTRACE"];

/// Where a unit's output goes.
pub(super) fn log_path(plan: &Plan, name: &NodeName) -> std::path::PathBuf {
    folders::node_dir(&plan.settings, name).join("log")
}

/// Starts the unit.
pub(super) fn spawn(record: &Record, draft: &Draft) -> Result<Life, Failure> {
    let plan = &record.plan;
    let failed = |error: io::Error| {
        Failure::new(format!("could not run `{}`: {error}", plan.program))
            .hint("the executable this network was started with must stay where it was")
    };
    let log = log_path(plan, &draft.name);
    let output = File::options().create(true).append(true).open(&log).map_err(failed)?;
    let mut command = command(record, draft);
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output)
        .current_dir(folders::node_dir(&plan.settings, &draft.name));
    own_session(&mut command);
    // Not waited for here: whoever asks how it is buries it when it has ended.
    let child = command.spawn().map_err(failed)?;
    Life::of(child.id().cast_signed())
        .ok_or_else(|| Failure::new(format!("`{}` ended as soon as it started, see `{}`", draft.name, log.display())))
}

/// The unit's process that nobody noted down, because the p2pnet that started it was killed in that very moment. Known by
/// the whole of its command line, which names its data folder, and the gateway by its token.
pub(super) fn orphan(record: &Record, draft: &Draft) -> Option<Life> {
    let command = command(record, draft);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let wanted: Vec<u8> = words.flat_map(|word| [word.as_encoded_bytes(), b"\0"].concat()).collect();
    let token = format!("GATEWAY_TOKEN={}", record.plan.token);
    proc::pids().find_map(|pid| {
        let told = |file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let is_it = told("cmdline") == wanted
            && (draft.role != Role::Gateway
                || told("environ").split(|byte| *byte == 0).any(|pair| pair == token.as_bytes()));
        Life::of(pid).filter(|life| is_it && life.pid().is_some())
    })
}

/// A session of its own: closing our terminal hangs up on ours only, and when we end, the kernel sends no hang-up to
/// nodes that happen to be paused, as it does to stopped processes of a session it breaks up.
#[allow(unsafe_code, reason = "the standard library cannot start a session yet; setsid is safe between fork and exec")]
fn own_session(command: &mut Command) {
    // SAFETY: the closure makes one async-signal-safe system call and touches no memory of ours.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(io::Error::from));
    }
}

fn command(record: &Record, draft: &Draft) -> Command {
    let plan = &record.plan;
    let settings = &plan.settings;
    let mut command = Command::new(&plan.program);
    command.env_clear();
    command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs(settings.secret.as_ref().map(|secret| ("CLUSTER_SECRET", secret)));
    if draft.role == Role::Gateway {
        command.arg("gateway").env("NETWORK", settings.network.as_str());
        command.env("GATEWAY_TOKEN", &plan.token);
        command.env("PORT", record.gateway.port().to_string()).args(["--bind", &record.gateway.ip().to_string()]);
        return command;
    }
    let folder = folders::node_dir(settings, &draft.name);
    let port = draft.address(settings).map_or(0, |address| address.port());
    command.arg("node").args(["--name", draft.name.as_str(), "--port", &port.to_string()]);
    command.args(["--bind", &settings.bind.to_string(), "--gateway", &record.gateway.to_string()]);
    command.args(["--network", settings.network.as_str()]).env("PUSH", settings.push.as_str());
    command.env("VNODES", settings.vnodes().to_string());
    command.envs(settings.egress.map(|bytes| ("EGRESS", bytes.to_string()))).envs(MEMORY);
    command.arg("--data").arg(folder.join("data")).env("SYNC_DIR", folder.join("sync"));
    let bootstrap = Draft::bootstrap().address(settings).filter(|_| draft.role == Role::Node);
    if let Some(bootstrap) = bootstrap {
        command.args(["--bootstrap", &format!("http://{bootstrap}")]);
    }
    command
}
