//! What the homeserver says: whether it is there and knows us, reaches us, and lets us act as people.

use std::time::Duration;

use reqwest::{Client, Response, Url};
use serde_json::{Value, json};

use super::PATIENCE;
use super::report::Report;
use crate::clock::Clock;
use crate::config::Config;

/// Difference of the clocks that is worth a word, and the one that is wrong, seconds.
const SOME_SECONDS: i64 = 30;
const TOO_MANY_SECONDS: i64 = 300;
/// The version of the specification whose paths the bridge uses: authenticated media.
const NEEDED: (u32, u32) = (1, 11);
/// Below this limit (MiB) many films people send do not pass.
const SMALL_FILES: u64 = 50;
const RELOAD: &str = "name registration.yaml in the homeserver's configuration (Synapse: app_service_config_files) and restart it; run with -g when tokens differ";

/// How long the homeserver may take to call us. Longer than it tries itself, else it could not say that it does not reach us:
/// Synapse waits 15 s for a connection and 60 s in all (observed with Synapse 1.163).
const PING_PATIENCE: Duration = Duration::from_secs(75);
const _: () = assert!(PING_PATIENCE.as_secs() > 60, "Synapse's own time-out comes first");

/// A visit to the homeserver.
pub(super) struct Visit<'a> {
    config: &'a Config,
    http: Client,
    address: &'a str,
    /// How long it may take to call us.
    pub(super) ping_patience: Duration,
}

/// An answer: its status and what it holds.
struct Said {
    status: u16,
    body: Value,
}

impl Said {
    fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }
}

impl<'a> Visit<'a> {
    pub(super) fn new(config: &'a Config) -> reqwest::Result<Self> {
        let address = config.homeserver.address.trim_end_matches('/');
        Ok(Self { config, http: client_for(address)?, address, ping_patience: PING_PATIENCE })
    }

    pub(super) async fn examine(&self, can_be_called: bool, user: Option<&str>, clock: &Clock, report: &mut Report) {
        if !self.look_at_versions(clock, report).await || !self.look_at_token(report).await {
            return;
        }
        self.look_at_namespaces(report).await;
        if can_be_called {
            self.look_at_ping(report).await;
        }
        self.look_at_puppets(user, report).await;
        self.look_at_limit(report).await;
    }

    /// Whether a homeserver answers that we can talk to.
    async fn look_at_versions(&self, clock: &Clock, report: &mut Report) -> bool {
        const ABOUT: &str = "homeserver";
        let address = self.address;
        let answer = match self.http.get(format!("{address}/_matrix/client/versions")).send().await {
            Ok(answer) => answer,
            Err(why) => {
                report.fault(
                    ABOUT,
                    format!("does not answer at {address} ({})", innermost(&why)),
                    "start it, or correct homeserver.address",
                );
                return false;
            }
        };
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).and_then(seconds_of);
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        let versions: Vec<&str> = body["versions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if status != 200 || versions.is_empty() {
            report.fault(
                ABOUT,
                format!("what answers at {address} is no Matrix homeserver (status {status})"),
                "correct homeserver.address; behind a proxy, let it pass /_matrix on",
            );
            return false;
        }
        match versions.iter().filter_map(|version| numbers(version)).max() {
            Some(newest) if newest >= NEEDED => {
                report.well(ABOUT, format!("answers at {address} and speaks Matrix v{}.{}", newest.0, newest.1));
            }
            _ => report.fault(
                ABOUT,
                format!("answers at {address} and is too old: it does not speak Matrix v{}.{}", NEEDED.0, NEEDED.1),
                "update the homeserver",
            ),
        }
        if let Some(theirs) = date {
            tell_clocks(theirs - clock.now_ms() / 1000, report);
        }
        true
    }

    /// Whether our token is known, and whose homeserver this is.
    async fn look_at_token(&self, report: &mut Report) -> bool {
        const ABOUT: &str = "as_token";
        let token = self.config.appservice.as_token.reveal();
        let said = self.whoami(self.address, token, None).await;
        let domain = &self.config.homeserver.domain;
        match said {
            Some(said) if said.status == 200 => {
                let sender = said.text("user_id");
                let server = sender.split_once(':').map_or("", |(_, server)| server);
                if server == domain {
                    report.well(ABOUT, "the homeserver takes it");
                    return true;
                }
                report.fault(
                    "domain",
                    format!("the homeserver is called {server}, and homeserver.domain says {domain}"),
                    "correct homeserver.domain, run with -g and restart the homeserver",
                );
                false
            }
            Some(said) if said.status == 401 || said.status == 403 => {
                report.fault(ABOUT, "the homeserver does not know it", RELOAD);
                false
            }
            other => {
                report.fault(
                    ABOUT,
                    format!("the homeserver did not say whether it knows it{}", status_of(other.as_ref())),
                    "read the homeserver's log",
                );
                false
            }
        }
    }

    /// Whether the bot and the ghosts are ours.
    async fn look_at_namespaces(&self, report: &mut Report) {
        let appservice = &self.config.appservice;
        let domain = &self.config.homeserver.domain;
        let bot = format!("@{}:{domain}", appservice.bot.username);
        let ghost = format!("@{}:{domain}", appservice.ghost_localpart("lid-doctor"));
        let mut all = true;
        for user in [bot, ghost] {
            let said = self.whoami(self.address, appservice.as_token.reveal(), Some(&user)).await;
            let reload = "the registration it has loaded is another one: run with -g, let it load registration.yaml, and restart it";
            match said {
                Some(said) if said.status == 200 => {}
                // Only words tell apart a name of ours that has no account yet and one that is not ours (observed with Synapse
                // 1.163). Other words, of another version or another homeserver, prove neither.
                Some(said) if said.text("error").contains("has not registered this user") => {}
                Some(said) if said.text("error").contains("cannot masquerade") => {
                    all = false;
                    report.fault("namespaces", format!("the homeserver does not let the bridge act as {user}"), reload);
                }
                other => {
                    all = false;
                    report.warn(
                        "namespaces",
                        format!(
                            "the homeserver did not say whether the bridge may act as {user}{}",
                            status_of(other.as_ref())
                        ),
                        &format!("nothing, when the bridge has not run here yet; if it does not work, {reload}"),
                    );
                }
            }
        }
        if all {
            report.well("namespaces", "the bot and the contacts are the bridge's");
        }
    }

    /// Whether the homeserver reaches us, with its token.
    async fn look_at_ping(&self, report: &mut Report) {
        const ABOUT: &str = "ping";
        let appservice = &self.config.appservice;
        let url = format!("{}/_matrix/client/v1/appservice/{}/ping", self.address, appservice.id);
        let request = self.http.post(url).bearer_auth(appservice.as_token.reveal()).timeout(self.ping_patience);
        let answer = request.json(&json!({ "transaction_id": "doctor" })).send().await;
        let address = &appservice.address;
        let reach = "let the homeserver reach appservice.address: the port, a firewall, the container's network; \
                     when it was changed, run with -g and restart the homeserver";
        if answer.as_ref().is_err_and(reqwest::Error::is_timeout) {
            let seconds = self.ping_patience.as_secs_f32();
            return report.fault(ABOUT, format!("the homeserver does not reach {address} in {seconds} s"), reach);
        }
        let Some(said) = said(answer).await else {
            return report.fault(ABOUT, "the homeserver did not answer", "read the homeserver's log");
        };
        match (said.status, said.text("errcode")) {
            (200, _) => {
                let took = said.body["duration_ms"].as_u64().unwrap_or_default();
                report.well(ABOUT, format!("the homeserver reaches the bridge at {address} ({took} ms)"));
            }
            (_, "M_BAD_STATUS") => {
                let fix = "let the homeserver load the registration.yaml that -g wrote for this configuration, and restart it; \
                           if that is so, something else answers at appservice.address";
                let status = said.body["status"].as_u64().unwrap_or_default();
                report.fault(ABOUT, format!("what the homeserver finds at {address} refuses it with status {status}: hs_token differs, or it is not the bridge"), fix);
            }
            (_, "M_CONNECTION_FAILED" | "M_CONNECTION_TIMEOUT") => {
                report.fault(ABOUT, format!("the homeserver does not reach {address}"), reach);
            }
            (_, "M_URL_NOT_SET") => report.fault(ABOUT, "the registration it has loaded has no url", RELOAD),
            (404, "M_UNRECOGNIZED" | "") => report.warn(
                ABOUT,
                "the homeserver can't be asked to call the bridge",
                "update it; until then watch its log for transactions that fail",
            ),
            (status, code) => {
                report.fault(ABOUT, format!("the homeserver refuses with status {status} {code}"), RELOAD)
            }
        }
    }

    /// Whether people can be acted as: those here, those of homeservers with a token, and `user`.
    async fn look_at_puppets(&self, user: Option<&str>, report: &mut Report) {
        const ABOUT: &str = "double puppets";
        let mut is_asked = false;
        let own = &self.config.homeserver.domain;
        let others = self.config.double_puppet.secrets.keys().filter(|server| *server != own);
        for server in std::iter::once(own).chain(others) {
            let Some(token) = self.config.shared_puppet_token(server) else { continue };
            let address = match server == own {
                true => self.address,
                false => match self.config.puppet_address(server) {
                    Some(address) => address.trim_end_matches('/'),
                    None => continue,
                },
            };
            let named = user.filter(|user| user.split_once(':').is_some_and(|(_, theirs)| theirs == server));
            is_asked |= named.is_some();
            let said = self.whoami(address, token.reveal(), named).await;
            let who = named.map_or_else(|| format!("people of {server}"), str::to_owned);
            match said {
                Some(said) if said.status == 200 => report.well(ABOUT, format!("the bridge may act as {who}")),
                Some(_) if server == own && !self.config.double_puppet.automatic => {
                    report.well(ABOUT, "double_puppet.automatic is off; people say login-matrix to the bot");
                }
                Some(said) => report.warn(
                    ABOUT,
                    format!("the bridge may not act as {who}{}: what they write on their phone comes from a ghost", status_of(Some(&said))),
                    match server == own {
                        true => "let the homeserver load registration-doublepuppet.yaml too and restart it, or set double_puppet.automatic to false",
                        false => "compare double_puppet.secrets with the registration of that homeserver",
                    },
                ),
                None => report.warn(
                    ABOUT,
                    format!("{server} does not answer at {address}"),
                    if server == own { "read the homeserver's log" } else { "correct double_puppet.servers" },
                ),
            }
        }
        if let Some(user) = user.filter(|_| !is_asked) {
            report.warn(
                ABOUT,
                format!("nobody was asked about {user}: there is no token for that server"),
                "name somebody of this homeserver, or of one in double_puppet.secrets; others say login-matrix to the bot",
            );
        }
    }

    /// The largest file the homeserver takes.
    async fn look_at_limit(&self, report: &mut Report) {
        const ABOUT: &str = "uploads";
        let url = format!("{}/_matrix/client/v1/media/config", self.address);
        let bot = format!("@{}:{}", self.config.appservice.bot.username, self.config.homeserver.domain);
        let request = self.http.get(as_user(&url, Some(&bot)));
        let answer = said(request.bearer_auth(self.config.appservice.as_token.reveal()).send().await).await;
        let bytes = match answer {
            Some(said) if said.status == 200 => said.body["m.upload.size"].as_u64(),
            // The bot has no account before the first start.
            Some(said) if [401, 403].contains(&said.status) => None,
            other => {
                return report.warn(
                    ABOUT,
                    format!("the homeserver did not say how large files may be{}", status_of(other.as_ref())),
                    "read the homeserver's log",
                );
            }
        };
        let Some(bytes) = bytes else {
            return report.well(ABOUT, "the homeserver tells no limit yet");
        };
        let limit = bytes >> 20;
        let ours = u64::from(self.config.media.max_file_mib);
        if limit < SMALL_FILES {
            report.warn(
                ABOUT,
                format!("the homeserver takes files of {limit} MiB at most"),
                "raise Synapse's max_upload_size",
            );
        } else {
            report.well(ABOUT, format!("files of {} MiB at most cross", limit.min(ours)));
        }
    }

    async fn whoami(&self, address: &str, token: &str, user: Option<&str>) -> Option<Said> {
        let http = if address == self.address { self.http.clone() } else { client_for(address).ok()? };
        let url = as_user(&format!("{address}/_matrix/client/v3/account/whoami"), user);
        said(http.get(url).bearer_auth(token).send().await).await
    }
}

fn client_for(address: &str) -> reqwest::Result<Client> {
    // As the bridge itself reaches it: without a proxy, following no redirects.
    let mut http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    if address.starts_with("http://") {
        http = http.tls_certs_only(std::iter::empty());
    }
    http.build()
}

/// The address with the user to ask as, as application services do.
fn as_user(address: &str, user: Option<&str>) -> String {
    match (Url::parse(address), user) {
        (Ok(mut url), Some(user)) => {
            url.query_pairs_mut().append_pair("user_id", user);
            url.into()
        }
        _ => address.to_owned(),
    }
}

async fn said(answer: reqwest::Result<Response>) -> Option<Said> {
    let answer = answer.ok()?;
    let status = answer.status().as_u16();
    Some(Said { status, body: answer.json().await.unwrap_or_default() })
}

fn status_of(said: Option<&Said>) -> String {
    said.map_or_else(String::new, |said| format!(" (status {} {})", said.status, said.text("errcode")))
}

/// What went wrong at the bottom: `Connection refused` rather than `error sending request`.
fn innermost(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// `v1.11` as numbers.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Says how the clocks differ; `ahead`: seconds the homeserver's is ahead of ours.
pub(super) fn tell_clocks(ahead: i64, report: &mut Report) {
    let told = match ahead {
        0 => "the same time as the homeserver's".to_owned(),
        1.. => format!("{ahead} s behind the homeserver's"),
        _ => format!("{} s ahead of the homeserver's", -ahead),
    };
    let fix = "set both clocks by NTP (systemd-timesyncd or chrony)";
    match ahead.abs() {
        TOO_MANY_SECONDS.. => report.fault("clock", told, fix),
        SOME_SECONDS.. => report.warn("clock", told, fix),
        _ => report.well("clock", told),
    }
}

/// The moment of a `Date` header (RFC 9110 section 5.6.7, the form that is sent: `Sun, 06 Nov 1994 08:49:37 GMT`), seconds
/// since 1970.
pub(super) fn seconds_of(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = date.split_once(", ")?.1.strip_suffix(" GMT")?.split(' ');
    let number = |word: Option<&str>| word?.parse::<i64>().ok();
    let day = number(words.next())?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year = number(words.next())?;
    let mut clock = words.next()?.split(':');
    let (hour, minute, second) = (number(clock.next())?, number(clock.next())?, number(clock.next())?);
    // Days since 1970 in years that begin in March, so that the leap day is the last.
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * shifted + 2) / 5 + day
            - 1
            - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}
