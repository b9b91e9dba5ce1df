//! What a story gets: homeserver, WhatsApp, database and bridge, started and wired; and how a story is run.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use xtask::scratch::Folder;

use crate::bridge::Bridge;
use crate::chat::Chat;
use crate::database::{Database, Db};
use crate::management::Management;
use crate::person::Person;
use crate::phones::{Account, Phones};
use crate::synapse::{Loaded, Synapse};
use crate::wait;

/// Which homeserver a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Homeserver {
    /// One shared with other stories; it must not be stopped.
    Shared,
    /// One shared with other stories that act as people: the registrations for double puppets are loaded.
    Puppets,
    /// One of its own, on the same kind of database as the bridge.
    Own,
}

/// Everything a story needs. Its parts are public: a story stops, kills and starts them as it likes.
pub struct World {
    /// The database the bridge uses.
    pub db: Db,
    /// The database itself.
    pub database: Database,
    /// The bridge.
    pub bridge: Bridge,
    /// WhatsApp: its server and the phones.
    pub phones: Phones,
    /// The homeserver.
    pub synapse: Arc<Synapse>,
    chats: Vec<Chat>,
    people: Vec<Person>,
    folder: Folder,
}

impl World {
    /// Starts all parts but the bridge, which is configured only.
    ///
    /// # Errors
    /// A part can't be started.
    pub async fn prepare(db: Db, homeserver: Homeserver) -> Result<Self> {
        let (synapse, slot) = match homeserver {
            Homeserver::Shared => Synapse::shared(Loaded::Bridges).await?,
            Homeserver::Puppets => Synapse::shared(Loaded::Puppets).await?,
            Homeserver::Own => {
                let synapse = Synapse::start(1, db, Loaded::Puppets).await?;
                let slot = synapse.lease().context("a slot")?;
                (synapse, slot)
            }
        };
        let folder = Folder::create("story")?;
        let database = Database::create(db, folder.path(), "bridge").await?;
        let phones = Phones::start().await?;
        let whatsapp = (phones.websocket(), phones.media());
        let bridge = Bridge::configure(slot, folder.path(), &database, (&whatsapp.0, &whatsapp.1))?;
        Ok(Self { db, database, bridge, phones, synapse, chats: Vec::new(), people: Vec::new(), folder })
    }

    /// Starts all parts.
    ///
    /// # Errors
    /// A part can't be started.
    pub async fn start(db: Db, homeserver: Homeserver) -> Result<Self> {
        let mut world = Self::prepare(db, homeserver).await?;
        world.bridge.start().await?;
        Ok(world)
    }

    /// Returns the folder of the story: the bridge's config, database file and log.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Makes a Matrix user.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn person(&mut self, name: &str) -> Result<Person> {
        let person = self.synapse.create_user(name).await?;
        self.people.push(person.clone());
        Ok(person)
    }

    /// Opens a management room for a person.
    ///
    /// # Errors
    /// The bot does not come.
    pub async fn management(&self, person: &Person) -> Result<Management> {
        Management::open(person, &self.bridge.slot().bot()).await
    }

    /// Makes a person with a WhatsApp account and logs them in by QR code.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn log_in(&mut self, name: &str) -> Result<(Person, Account, Management)> {
        let person = self.person(name).await?;
        let account = self.phones.create_account(name)?;
        let management = self.management(&person).await?;
        management.login_by_qr(&self.phones, &account).await?;
        Ok((person, account, management))
    }

    /// Returns a chat of a person's login with a new contact; its laws are checked at the story's end.
    ///
    /// # Errors
    /// The simulator refuses the account.
    pub fn chat_with(&mut self, person: &Person, login: &Account, contact: &str) -> Result<Chat> {
        let contact = self.phones.create_account(contact)?;
        Ok(self.chat(person, login, &contact))
    }

    /// Returns a chat of a person's login with an account; its laws are checked at the story's end.
    pub fn chat(&mut self, person: &Person, login: &Account, contact: &Account) -> Chat {
        let chat = Chat::new(&self.phones, person, login, contact);
        self.chats.push(chat.clone());
        chat
    }

    /// Makes a person, logs them in and begins a chat with a contact: where most stories start.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn begin(&mut self) -> Result<Chat> {
        let (person, account, _) = self.log_in("alice").await?;
        let chat = self.chat_with(&person, &account, "bob")?;
        chat.begin("hello, says bob").await?;
        Ok(chat)
    }

    /// Waits until all that was said in the story's chats has arrived, and checks the four laws.
    ///
    /// # Errors
    /// A law is broken.
    pub async fn check_laws(&mut self) -> Result<()> {
        for chat in &self.chats {
            chat.wait_all(Duration::from_secs(120)).await?;
        }
        if self.bridge.is_running()? {
            self.bridge.wait_idle().await?;
            self.phones.wait_settled(wait::STEP).await?;
        }
        for chat in &self.chats {
            chat.check_laws().await?;
        }
        let mut unknown = self.phones.unknown_stanzas();
        // Its own riddle is answered with an ack that the simulator, rightly, has no use for.
        unknown.retain(|stanza| !stanza.contains("class=\"sim_mystery\""));
        ensure!(unknown.is_empty(), "the simulator did not understand: {unknown:#?}");
        Ok(())
    }

    /// Ends the story: the laws, then an orderly stop of the bridge, which must end well.
    ///
    /// # Errors
    /// A law is broken, or the bridge ends with an error.
    async fn finish(&mut self) -> Result<()> {
        self.check_laws().await?;
        if self.bridge.is_running()? {
            let status = self.bridge.stop().await?;
            ensure!(status.success(), "the bridge, asked to stop, ended with {status}");
        }
        Ok(())
    }

    fn evidence(&self) -> String {
        let mut text = self.bridge.log_tail(120);
        text.push_str(&format!("\n{}", self.synapse.log_tail(25)));
        for person in &self.people {
            for room in person.rooms() {
                text.push_str(&format!("\n{} in {room}:\n{}", person.name(), person.transcript(&room)));
            }
        }
        text
    }
}

/// A story: a function of the world.
pub type Story = for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Runs one story on one database: starts the world, tells the story, checks the laws, stops.
///
/// # Panics
/// When anything fails; what is known about why is printed before.
pub fn run(name: &str, db: Db, homeserver: Homeserver, story: Story) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let start = Instant::now();
    let told = runtime.block_on(async {
        let mut world = World::start(db, homeserver).await?;
        let told = async {
            story(&mut world).await?;
            world.finish().await
        };
        let told = tokio::time::timeout(Duration::from_secs(420), told).await;
        let told = told.unwrap_or_else(|_| Err(anyhow::anyhow!("the story took more than seven minutes")));
        if told.is_err() {
            eprintln!("{}\n\n{name} failed; what is known is above", world.evidence());
            world.folder.keep();
            world.synapse.folder().keep();
        }
        told
    });
    if let Err(error) = told {
        panic!("{name} on {db:?}, after {:.1} s: {error:#}", start.elapsed().as_secs_f32());
    }
    println!("{name} on {db:?}: {:.1} s", start.elapsed().as_secs_f32());
}

/// Makes two tests of each named story, `sqlite::name` and `postgres::name`. The word before a group of stories says which
/// [`Homeserver`] they have: `shared`, `puppets`, or `own`, which they may stop.
#[macro_export]
macro_rules! stories {
    ($($homeserver:ident { $($story:ident)* })*) => {
        $crate::stories!(@database sqlite Sqlite $($homeserver { $($story)* })*);
        $crate::stories!(@database postgres Postgres $($homeserver { $($story)* })*);
    };
    (@database $module:ident $db:ident $($homeserver:ident { $($story:ident)* })*) => {
        mod $module {
            use $crate::database::Db;
            use $crate::world::run;
            $($(
                #[test]
                fn $story() {
                    let homeserver = $crate::stories!(@homeserver $homeserver);
                    run(stringify!($story), Db::$db, homeserver, |world| Box::pin(super::$story(world)));
                }
            )*)*
        }
    };
    (@homeserver shared) => { $crate::world::Homeserver::Shared };
    (@homeserver puppets) => { $crate::world::Homeserver::Puppets };
    (@homeserver own) => { $crate::world::Homeserver::Own };
}
