//! Servers for tests are gone with whoever asked for them.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::checkout::{Checkout, eventually};

#[test]
fn the_end_of_input_removes_servers_and_folder() {
    let Some(checkout) = Checkout::with_servers() else {
        return;
    };
    let mut command = checkout.command(&["throw-away"]);
    let mut keeper = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let address = |key: &str| {
        let url = said[key].as_str().unwrap();
        let rest = url.split_once("127.0.0.1:").unwrap().1;
        format!("127.0.0.1:{}", rest.split('/').next().unwrap())
    };
    let addresses = [address("database_url"), address("redis_url")];
    for address in &addresses {
        TcpStream::connect(address).unwrap();
    }
    let folder: PathBuf = std::env::temp_dir().join(format!("slipway-test-{}", keeper.id()));
    assert!(folder.is_dir());

    drop(keeper.stdin.take());
    assert!(keeper.wait().unwrap().success());
    assert!(!folder.exists());
    for address in &addresses {
        eventually("the port is closed", || {
            TcpStream::connect(address).is_err()
        });
    }
}
