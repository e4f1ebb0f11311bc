//! From a command line to its exit code. Data goes to stdout, progress and failures to stderr.

use std::{io::Write, process::ExitCode, time::Duration};

use super::{Cli, Command, Folder, Nodes, OneKey, Which};
use crate::{
    cluster::Cluster,
    doctor,
    failure::Failure,
    fault, gateway,
    verb::{FileAct, FileOrder, KeyAct, KeyOrder, Target, Verb},
    verbs::{
        self, PROGRESS_MAX,
        launch::{self, Ended, Start},
        report,
    },
};

/// Ended by Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;

/// What opens the dashboard on a network; `main` hands it in so that the verbs do not depend on the screen.
pub type Dashboard = fn(Cli) -> Result<(), Failure>;

/// Carries out a command line.
#[must_use]
pub fn run(cli: Cli, dashboard: Dashboard) -> ExitCode {
    let command = match cli.command {
        None => return finish(dashboard(cli).map(|()| ExitCode::SUCCESS)),
        Some(Command::Node(options)) => return p2pnet_node::run(*options),
        Some(command) => command,
    };
    if let Command::Gateway(_) = command {
        p2pnet_node::log_to_stderr();
    }
    // The gateway is one small process beside a thousand: one thread does. Verbs fold and print, one does too.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return finish(Err(Failure::new(format!("could not start: {error}")))),
    };
    let code = finish(runtime.block_on(carry_out(command)));
    // Whatever still runs (a resolver, a write to a closed pipe) must not keep a finished verb waiting.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn carry_out(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::StartNetwork { start, wait } => {
            let settings = match start.settings() {
                Ok(settings) => settings,
                Err(failure) => return Ok(wrong_usage(&failure)),
            };
            let (nodes, runtime) = (start.nodes, start.which.runtime.into());
            let ended = launch::start(Start { settings, nodes, runtime, wait: Duration::from_secs(wait) }).await?;
            match ended {
                Ended::Done(outcome) => say(&outcome.lines),
                Ended::Interrupted(outcome) => {
                    outcome.lines.iter().for_each(|line| eprintln!("{line}"));
                    Ok(ExitCode::from(INTERRUPTED))
                }
            }
        }
        Command::StopNetwork { which, keep_data } => say(&launch::stop(&find(&which).await?, keep_data).await?.lines),
        Command::AddNodes { which, count } => verb(&which, Verb::Add(count)).await,
        Command::RemoveNode { nodes, signal } => about(&nodes, |who| Verb::Stop(who, signal.into())).await,
        Command::RestartNode(nodes) => about(&nodes, Verb::Restart).await,
        Command::PauseNode(nodes) => about(&nodes, Verb::Pause).await,
        Command::ResumeNode(nodes) => about(&nodes, Verb::Resume).await,
        Command::Fault { which, one_way, words } => meant(&which, fault::read(&words, one_way)).await,
        Command::Heal { which, nodes } => meant(&which, fault::read_heal(&nodes)).await,
        Command::SendMessage { which, from, text } => verb(&which, Verb::Broadcast { from, text }).await,
        Command::GetMessages { which, node } => verb(&which, Verb::Messages(node)).await,
        Command::Put { key, value, string } => {
            about_key(key, verbs::keys::read_value(&value, string).map(KeyAct::Put)).await
        }
        Command::Get(key) => about_key(key, Ok(KeyAct::Get)).await,
        Command::Delete(key) => about_key(key, Ok(KeyAct::Delete)).await,
        Command::Owner(key) => about_key(key, Ok(KeyAct::Owner)).await,
        Command::Upload { at, file, path } => {
            let to = path.map_or_else(|| verbs::files::named_like(&file), Ok);
            about_files(at, to.map(|to| FileAct::Upload { from: file, to })).await
        }
        Command::Download { at, path, output } => {
            about_files(at, verbs::files::target(output).map(|to| FileAct::Download { path, to })).await
        }
        Command::Files(at) => about_files(at, Ok(FileAct::List)).await,
        Command::DeleteFile { at, path } => about_files(at, Ok(FileAct::Delete(path))).await,
        Command::Status { which, json } => {
            let cluster = find(&which).await?;
            let summary = report::status(&cluster).await?;
            if json {
                return say(&[format!("{:#}", report::document(&cluster, &summary))]);
            }
            say(&report::screen(&cluster, &summary))
        }
        Command::Wait { which, goal, timeout } => {
            let summary = report::wait(&find(&which).await?, goal, timeout).await?;
            say(&[goal.reached(&summary)])
        }
        Command::Watch { which, json, plain: _ } => {
            report::watch(&find(&which).await?, json, &mut std::io::stdout()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Gateway(options) => gateway::run(options).await.map(|()| ExitCode::SUCCESS),
        Command::Node(_) => Ok(ExitCode::SUCCESS), // has a runtime of its own, see `run`
        Command::RaiseLimits { entries } => {
            let raised = crate::cluster::raise_neighbours(entries);
            raised
                .map_err(|error| Failure::new(format!("could not raise the neighbour table to {entries}: {error}")))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor { start, json } => {
            let settings = start.settings()?;
            let report = doctor::examine(start.nodes, settings.base_port, settings.bind, &settings.data).await;
            say(&[if json { format!("{:#}", report.document()) } else { report.as_text() }])?;
            match report.findings.iter().filter(|finding| !finding.is_fine).count() {
                0 => Ok(ExitCode::SUCCESS),
                count => Err(Failure::new(format!("{count} of {} checks failed", report.findings.len()))
                    .hint("each says above how to mend it")),
            }
        }
    }
}

/// What is to be done with a key; words that mean nothing are wrong usage.
async fn about_key(asked: OneKey, act: Result<KeyAct, Failure>) -> Result<ExitCode, Failure> {
    let OneKey { which, key, via, json } = asked;
    let act = match act {
        Ok(act) => act,
        Err(failure) => return Ok(wrong_usage(&failure)),
    };
    let answer = verbs::keys::answer(&find(&which).await?, &KeyOrder { key, via, act }).await?;
    if json {
        return say(&[format!("{:#}", answer.document())]);
    }
    // Remarks last: what was asked for is not kept waiting for a slow stderr.
    let code = say(&answer.lines())?;
    answer.remarks().iter().for_each(|line| eprintln!("{line}"));
    Ok(code)
}

/// What is to be done with files; words that mean nothing are wrong usage.
async fn about_files(asked: Folder, act: Result<FileAct, Failure>) -> Result<ExitCode, Failure> {
    let Folder { which, via, json } = asked;
    let act = match act {
        Ok(act) => act,
        Err(failure) => return Ok(wrong_usage(&failure)),
    };
    let is_on_stdout = matches!(act, FileAct::Download { to: Target::Stdout, .. });
    let answer = verbs::files::answer(&find(&which).await?, &FileOrder { via, act }).await?;
    if json && !is_on_stdout {
        return say(&[format!("{:#}", answer.document())]);
    }
    let code = say(&answer.lines())?;
    answer.remarks().iter().for_each(|line| eprintln!("{line}"));
    Ok(code)
}

async fn about(nodes: &Nodes, order: impl FnOnce(crate::select::Selector) -> Verb) -> Result<ExitCode, Failure> {
    meant(&nodes.which, nodes.selector().map(order)).await
}

/// Carries out what was meant; words that mean nothing are wrong usage.
async fn meant(which: &Which, read: Result<Verb, Failure>) -> Result<ExitCode, Failure> {
    match read {
        Ok(order) => verb(which, order).await,
        Err(failure) => Ok(wrong_usage(&failure)),
    }
}

fn wrong_usage(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    ExitCode::from(2)
}

async fn verb(which: &Which, verb: Verb) -> Result<ExitCode, Failure> {
    let cluster = find(which).await?;
    let (progress, shown) = tokio::sync::mpsc::channel(PROGRESS_MAX);
    let (outcome, ()) = tokio::join!(verbs::run_with(&cluster, verb, progress), launch::show(shown));
    say(&outcome?.lines)
}

/// The network that is meant.
///
/// # Errors
/// When there is none of that name.
pub async fn find(which: &Which) -> Result<Cluster, Failure> {
    let found = Cluster::find(&which.network, which.runtime.into()).await?;
    found.ok_or_else(|| {
        let option = launch::network_option(&which.network);
        Failure::new(format!("no network `{}` is running", which.network))
            .hint(format!("start one with `p2pnet start-network{option}`"))
    })
}

fn say(lines: &[String]) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    let said = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    match said {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("could not write the result: {error}")))
        }
        // A reader that went away (`| head`) has seen what it wanted.
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn finish(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::FAILURE
    })
}
