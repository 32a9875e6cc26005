//! The Lua scripts: each file's head names its keys, arguments and invariant.

use std::sync::LazyLock;

use redis::{Cmd, Script, ToRedisArgs};

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(
            #[doc = concat!("The script `lua/", $file, "`.")]
            pub(crate) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(&complete(include_str!(concat!("lua/", $file)))));
        )*

        /// File and source of each, to load them all at once.
        pub(crate) static SOURCES: LazyLock<Vec<(&str, String)>> =
            LazyLock::new(|| vec![$(($file, complete(include_str!(concat!("lua/", $file))))),*]);
    };
}

macro_rules! includes {
    ($($file:literal),*) => {
        /// What several scripts have in common.
        const INCLUDES: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("lua/include/", $file)))),*];
    };
}

// One that includes another stands before it.
includes![
    "gate.lua",
    "keep.lua",
    "release.lua",
    "leave_batch.lua",
    "pass_on.lua",
    "place.lua",
    "room.lua",
    "slots.lua",
    "streams.lua"
];

/// The script with the text of `lua/include/NAME` in the place of each `-- include NAME`.
fn complete(source: &str) -> String {
    INCLUDES
        .iter()
        .fold(source.to_owned(), |source, (name, text)| {
            source.replace(&format!("-- include {name}\n"), text)
        })
}

scripts! {
    ASK_SLOT = "ask_slot.lua";
    BATCH = "batch.lua";
    BEAT = "beat.lua";
    BOUNDED = "bounded.lua";
    CANCEL = "cancel.lua";
    COMPLETE = "complete.lua";
    CRON = "cron.lua";
    DEAD = "dead.lua";
    DELETE = "delete.lua";
    ENROLL = "enroll.lua";
    FETCH = "fetch.lua";
    FINISH = "finish.lua";
    FIRE_ASKED = "fire_asked.lua";
    HAND_BACK = "hand_back.lua";
    LEAVE = "leave.lua";
    LET_IN = "let_in.lua";
    LIMIT = "limit.lua";
    RECLAIM = "reclaim.lua";
    RELAY = "relay.lua";
    REPLACE = "replace.lua";
    REPLAY = "replay.lua";
    SCHEDULE = "schedule.lua";
    SET_ASIDE = "set_aside.lua";
    SLOT = "slot.lua";
    TICK = "tick.lua";
    TRIM = "trim.lua";
    UNIQUE = "unique.lua";
    UNPARK = "unpark.lua";
}

/// An `EVALSHA` of the script with its keys; arguments may be added to it.
///
/// [`crate::connection::Connection`] loads the scripts where they are missing.
pub(crate) fn call(script: &Script, keys: &[impl ToRedisArgs]) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(script.get_hash()).arg(keys.len()).arg(keys);
    cmd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_takes_and_keeps() {
        for (file, source) in &*SOURCES {
            for word in [
                "#!lua",
                "-- KEYS 1",
                "-- ARGV 1",
                "-- Returns",
                "-- Invariant",
            ] {
                assert!(source.contains(word), "{word} is missing in {file}");
            }
            assert!(
                !source.contains("-- include"),
                "of what is unknown in {file}"
            );
        }
    }
}
