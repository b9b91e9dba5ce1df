//! `init`: from nothing to files that the bridge starts with and the homeserver can load.
//!
//! What flags do not say is asked, on a terminal or of what is piped in; `--yes` takes the defaults instead. Nothing is
//! written before everything is answered and the whole has passed every check.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::{carry, files, generate};
use crate::clock::Clock;
use crate::config::{Answers, Config, Environment, Faults, Question, fill_secrets};

/// What `init` takes from the command line.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct InitArguments {
    /// The folder for the files; made when it is not there
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Where the bridge reaches the homeserver, such as http://localhost:8008
    #[arg(long, value_name = "URL")]
    homeserver: Option<String>,
    /// The server name: what stands behind the colon in user ids
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// Who administers the bridge, such as @you:example.com
    #[arg(long, value_name = "USER ID")]
    admin: Option<String>,
    /// The database: file:PATH, or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URI")]
    database: Option<String>,
    /// Where the homeserver reaches the bridge, such as http://localhost:29318
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The address to listen on; by default this machine's own, or all when the homeserver is elsewhere
    #[arg(long, value_name = "ADDRESS")]
    hostname: Option<String>,
    /// The port to listen on; by default the one of --address
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Ask nothing: take the defaults for what is not given
    #[arg(short, long)]
    yes: bool,
    /// Write anew what is there; the old configuration is kept beside it, and tokens and keys stay
    #[arg(long)]
    force: bool,
}

/// The default place of the homeserver and of the bridge: both on one machine.
const HOMESERVER: &str = "http://localhost:8008";
const ADDRESS: &str = "http://localhost:29318";
const DATABASE: &str = "file:matrix-whatsapp.db";
const PORT: u16 = 29318;

/// Somebody who answers.
pub(super) trait Answerer {
    /// Shows a prompt and returns the line that is answered; none when nobody will answer any more.
    ///
    /// # Errors
    /// What the system says.
    fn ask(&mut self, prompt: &str) -> io::Result<Option<String>>;

    /// Says something to who answers.
    fn tell(&mut self, text: &str);
}

/// Standard input, with the prompts on standard error.
pub(super) struct Asked;

impl Answerer for Asked {
    fn ask(&mut self, prompt: &str) -> io::Result<Option<String>> {
        let mut out = io::stderr();
        write!(out, "{prompt} ")?;
        out.flush()?;
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line)?;
        Ok((read > 0).then_some(line))
    }

    fn tell(&mut self, text: &str) {
        super::say_wrong(text);
    }
}

/// Asks, checks and writes; returns what to tell.
///
/// # Errors
/// A file that is there already, an answer that is none, or a file that can't be written.
pub(super) fn run(
    arguments: &InitArguments,
    config: &Path,
    registration: &Path,
    environment: &Environment,
    answerer: &mut dyn Answerer,
) -> Result<String, Faults> {
    let place = |path: &Path| match arguments.folder == Path::new(".") {
        true => path.to_owned(),
        false => arguments.folder.join(path),
    };
    let (config, registration) = (place(config), place(registration));
    let puppets = generate::double_puppet_path(&registration);
    if !arguments.force {
        refuse_to_write_over(&[&config, &registration, &puppets])?;
    }
    let name = config.display().to_string();
    let answers = match read_old(&config)? {
        Some(old) => Answers::over(&old, &name)?,
        None => Answers::default(),
    };
    let answers = Asking { arguments, environment, answerer, answers }.all()?;
    let text = fill_secrets(&answers.config_text(&name)?, &name, environment, generate::random_hex)?;
    let checked = Config::parse(&text, &name, environment)?;

    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&arguments.folder)
        .map_err(|why| generate::cannot_write(&arguments.folder, &why))?;
    let mut told = match answers.has_old() {
        false => {
            files::create(&config, &text).map_err(|why| generate::cannot_write(&config, &why))?;
            format!("Wrote {name}.\n")
        }
        true => {
            let stamp = carry::stamp(&Clock::system());
            let backup = files::replace_with_backup(&config, &text, &stamp)
                .map_err(|why| generate::cannot_write(&config, &why))?;
            format!("Wrote {name}; what it was is {}.\n", backup.display())
        }
    };
    told.push_str(&generate::write_registrations(&config, &registration, environment)?);
    told.push_str(&next_steps(arguments, &config, &checked));
    Ok(told)
}

fn refuse_to_write_over(paths: &[&PathBuf]) -> Result<(), Faults> {
    for path in paths {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Faults::one(
                path.display().to_string(),
                "exists already and is not written over",
                "choose another folder with --folder, or write it anew with --force (tokens and keys stay)",
            ));
        }
    }
    Ok(())
}

/// The configuration that is there already; none when there is none. Whatever else keeps it from being read is a fault: it may
/// hold the only copy of the keys.
fn read_old(config: &Path) -> Result<Option<String>, Faults> {
    match fs::read_to_string(config) {
        Ok(old) => Ok(Some(old)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Faults::one(
            config.display().to_string(),
            format!("is there and can't be read: {why}"),
            "correct it or let this user read it; or move it away: what it says is lost to the bridge then, tokens and keys too",
        )),
    }
}

fn next_steps(arguments: &InitArguments, config: &Path, checked: &Config) -> String {
    let folder = match arguments.folder == Path::new(".") {
        true => String::new(),
        false => format!("    cd {}\n", arguments.folder.display()),
    };
    let name = config.strip_prefix(&arguments.folder).unwrap_or(config);
    let option = match name == Path::new("config.yaml") {
        true => String::new(),
        false => format!(" -c {}", name.display()),
    };
    let (bot, domain) = (&checked.appservice.bot.username, &checked.homeserver.domain);
    let mut told = format!(
        "Other homeservers: see docs/install.md. When the homeserver has restarted:\n{folder}    matrix-whatsapp doctor{option}\n    \
         matrix-whatsapp{option}\nThen open a chat with @{bot}:{domain} and write: login qr\n"
    );
    for advice in checked.advice() {
        told.push_str(&format!("note: {advice}\n"));
    }
    let address = &checked.appservice.address;
    let port = checked.appservice.port;
    if let Some(called) = called_port(address).filter(|called| *called != port && address.starts_with("http://")) {
        told.push_str(&format!(
            "note: the homeserver calls port {called} of {address}, and the bridge listens on port {port}: name that port with \
             --address, or let something pass the calls on\n"
        ));
    }
    told
}

/// The questions, in their order.
struct Asking<'a> {
    arguments: &'a InitArguments,
    environment: &'a Environment,
    answerer: &'a mut dyn Answerer,
    answers: Answers,
}

impl Asking<'_> {
    fn all(mut self) -> Result<Answers, Faults> {
        let arguments = self.arguments;
        // In a container (its image sets this) nothing else is on "this machine", so there is nothing to suggest.
        let hostname = self.environment.answer(Question::Hostname)?;
        let is_beside = hostname.as_deref().is_none_or(is_this_machine);
        self.answer(
            Question::Homeserver,
            arguments.homeserver.as_deref(),
            "--homeserver",
            "Where does the bridge reach the homeserver?",
            is_beside.then_some(HOMESERVER),
        )?;
        let guess = self.value(Question::Homeserver)?.and_then(|address| domain_of(&address));
        // A guess is good enough to be shown, not to be taken unseen: the name can't be changed later.
        let guess = guess.filter(|_| !arguments.yes);
        self.answer(
            Question::Domain,
            arguments.domain.as_deref(),
            "--domain",
            "What is its server name (behind the colon in user ids)?",
            guess.as_deref(),
        )?;
        if let Some(domain) = self.environment.answer(Question::Domain)? {
            self.answers.serve(domain);
        }
        self.answer(
            Question::Admin,
            arguments.admin.as_deref(),
            "--admin",
            "Who administers the bridge (a user id such as @you:example.com)?",
            None,
        )?;
        self.answer(
            Question::Database,
            arguments.database.as_deref(),
            "--database",
            "Where shall it keep its memory: file:PATH, or postgres://USER:PASSWORD@HOST/DATABASE?",
            Some(DATABASE),
        )?;
        self.answer(
            Question::Address,
            arguments.address.as_deref(),
            "--address",
            "Where does the homeserver reach the bridge?",
            is_beside.then_some(ADDRESS),
        )?;
        // What follows from the address is not asked.
        let address = self.value(Question::Address)?.unwrap_or_else(|| ADDRESS.to_owned());
        let (hostname, port) = listening_for(&address);
        self.follow(Question::Hostname, arguments.hostname.as_deref(), &hostname)?;
        self.follow(Question::Port, arguments.port.as_deref(), &port.to_string())?;
        Ok(self.answers)
    }

    /// Takes what is given, else what follows from the address when that is new.
    fn follow(&mut self, question: Question, given: Option<&str>, following: &str) -> Result<(), Faults> {
        if let Some(given) = given {
            return self.take(question, given);
        }
        let address = self.answers.get(Question::Address);
        let is_new = !self.answers.has_old() || (address.is_some() && address != self.answers.old(Question::Address));
        if is_new && self.environment.answer(question)?.is_none() { self.take(question, following) } else { Ok(()) }
    }

    /// What counts for a question so far.
    fn value(&self, question: Question) -> Result<Option<String>, Faults> {
        let outside = self.environment.answer(question)?;
        let inside = || self.answers.get(question).or_else(|| self.answers.old(question)).map(str::to_owned);
        Ok(outside.or_else(inside))
    }

    fn take(&mut self, question: Question, answer: &str) -> Result<(), Faults> {
        self.answers.put(question, answer).map_err(|fault| Faults::one(fault.place, fault.what, fault.fix))
    }

    fn answer(
        &mut self,
        question: Question,
        given: Option<&str>,
        flag: &str,
        prompt: &str,
        default: Option<&str>,
    ) -> Result<(), Faults> {
        if let Some(given) = given {
            return self.take(question, given);
        }
        if self.environment.answer(question)?.is_some() {
            return Ok(());
        }
        let is_kept = self.answers.is_kept(question);
        let nobody = || Faults::one(question.key(), "was not answered", format!("give it with {flag}"));
        if self.arguments.yes {
            return match default {
                _ if is_kept => Ok(()),
                Some(default) => self.take(question, default),
                // Nobody needs to be an administrator.
                None if question == Question::Admin => Ok(()),
                None => Err(nobody()),
            };
        }
        // A database's address may hold a password.
        let old = self.answers.old(question).filter(|_| question != Question::Database);
        let shown = if is_kept { Some(old.unwrap_or("as it is")) } else { default };
        let prompt = shown.map_or_else(|| prompt.to_owned(), |shown| format!("{prompt} [{shown}]"));
        loop {
            let line = self.answerer.ask(&prompt).ok().flatten().ok_or_else(nobody)?;
            let answer = match (line.trim(), default) {
                ("", _) if is_kept => return Ok(()),
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            match self.answers.put(question, answer) {
                Ok(()) => return Ok(()),
                Err(fault) => self.answerer.tell(&format!("That {}; {}.", fault.what, fault.fix)),
            }
        }
    }
}

/// The server name that an address suggests: its host, without a first label that only says what runs there.
fn domain_of(address: &str) -> Option<String> {
    let host = Url::parse(address).ok()?.domain()?.to_owned();
    let host = ["matrix.", "synapse."].iter().find_map(|label| host.strip_prefix(label)).unwrap_or(&host).to_owned();
    host.contains('.').then_some(host)
}

/// Where to listen so that the homeserver finds the bridge at `address`: behind a proxy (https) or beside the homeserver on
/// this machine alone, else everywhere. An address without a port is a proxy's, or a slip: only root may listen on port 80.
fn listening_for(address: &str) -> (String, u16) {
    let Ok(url) = Url::parse(address) else { return ("127.0.0.1".to_owned(), PORT) };
    let is_here = url.scheme() == "https" || url.host_str().is_some_and(is_this_machine);
    let port = if url.scheme() == "https" { PORT } else { named_port(address).unwrap_or(PORT) };
    (if is_here { "127.0.0.1" } else { "0.0.0.0" }.to_owned(), port)
}

/// Whether only this machine (or container) reaches what is there.
fn is_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1" | "[::1]")
}

/// The port that stands in an address.
fn named_port(address: &str) -> Option<u16> {
    // The parser leaves a port out that is the scheme's own, and one that is named is meant.
    let named = address.split_once("://")?.1.split('/').next()?.rsplit_once(':')?.1;
    named.parse().ok()
}

/// The port that who follows the address calls.
fn called_port(address: &str) -> Option<u16> {
    Url::parse(address).ok()?.port_or_known_default()
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
