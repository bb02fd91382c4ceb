//! `chat rooms`: lists the rooms of the user with what is unread, and the other public rooms.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::exit::CliError;
use super::identity_args::{CaArgs, IdentityArgs};
use super::output::{print, print_note};
use super::plain::format;
use super::signals;
use crate::client::link::ServerLink;
use crate::client::{Client, ClientEvent};
use crate::protocol::event::Event;
use crate::protocol::id::{Cid, RoomName};
use crate::protocol::request::Request;
use crate::protocol::room::RoomState;

/// The arguments of `chat rooms`.
#[derive(Debug, clap::Args)]
pub(super) struct RoomsArgs {
    /// Server to ask: HOST, HOST:PORT or a chat:// link
    #[arg(id = "server", value_name = "SERVER", env = "CHAT_SERVER", default_value_t = ServerLink::default())]
    link: ServerLink,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    ca: CaArgs,
    /// Print one JSON object per room
    #[arg(long)]
    json: bool,
}

/// A room in the list.
#[derive(Debug, PartialEq, Eq)]
struct ListedRoom {
    state: RoomState,
    /// The unread messages and those of them that mention the user, if the user is a member.
    counts: Option<(u32, u32)>,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
struct JsonRoom<'a> {
    room: &'a RoomName,
    member: bool,
    private: bool,
    archived: bool,
    people: u32,
    topic: &'a str,
    unread: u32,
    mentions: u32,
}

/// Prints the rooms.
pub(super) async fn run(args: RoomsArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let printed = async {
        let (client, mut events) =
            args.identity.connect_quietly(args.link.clone(), &args.ca).await?;
        let rooms = stop.run_until_cancelled(list_rooms(&client, &mut events)).await;
        client.close().await;
        match rooms {
            Some(rooms) => print(&format_rooms(&rooms?, args.json)?),
            None => Ok(()),
        }
    };
    signals::with_shutdown_signals(&stop, printed).await
}

/// Asks for the conversations of the user, then for the public rooms, page by page.
async fn list_rooms(
    client: &Client,
    events: &mut Receiver<ClientEvent>,
) -> anyhow::Result<BTreeMap<RoomName, ListedRoom>> {
    let cid: Cid = "list".parse()?;
    let mut rooms = BTreeMap::new();
    loop {
        let event = events.recv().await;
        match event.context("internal error: the client task stopped (please report this)")? {
            ClientEvent::Connected(_) => client.try_send(Some(&cid), &Request::Conversations)?,
            ClientEvent::Received(Event::Conversations(list)) => {
                for one in list.conversations {
                    if let Some((room, state)) = one.conversation.room().zip(one.room) {
                        let counts = Some((one.unread, one.mentions));
                        rooms.insert(room.clone(), ListedRoom { state, counts });
                    }
                }
                if !list.has_more {
                    client.try_send(Some(&cid), &Request::Rooms(None))?;
                }
            }
            ClientEvent::Received(Event::Rooms(list)) => {
                let end = list.rooms.last().map(|(room, _)| room.clone());
                for (room, state) in list.rooms {
                    rooms.entry(room).or_insert(ListedRoom { state, counts: None });
                }
                match end.filter(|_| list.has_more) {
                    Some(room) => client.try_send(Some(&cid), &Request::Rooms(Some(room)))?,
                    None => return Ok(rooms),
                }
            }
            ClientEvent::Received(Event::Error(error)) if error.cid.as_ref() == Some(&cid) => {
                return Err(CliError::refused(&error.text).into());
            }
            ClientEvent::FirstContact(notice) => print_note(notice),
            ClientEvent::Untrusted { reason } => return Err(CliError::untrusted(&reason).into()),
            ClientEvent::Ended { reason } => return Err(CliError::refused(&reason).into()),
            ClientEvent::Disconnected { reason, .. } => bail!("{}", reason.one_line()),
            ClientEvent::Connecting
            | ClientEvent::Received(_)
            | ClientEvent::Restored(_)
            | ClientEvent::Sending(_)
            | ClientEvent::NotSent { .. } => {}
        }
    }
}

fn format_rooms(rooms: &BTreeMap<RoomName, ListedRoom>, json: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for (room, ListedRoom { state, counts }) in rooms {
        if json {
            let (unread, mentions) = counts.unwrap_or_default();
            text += &serde_json::to_string(&JsonRoom {
                room,
                member: counts.is_some(),
                private: state.private,
                archived: state.archived,
                people: state.people,
                topic: state.topic.as_str(),
                unread,
                mentions,
            })?;
        } else {
            text += &format::listed_room(room, state, *counts);
        }
        text.push('\n');
    }
    Ok(text)
}
