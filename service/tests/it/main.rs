//! What binaries rely on, tested from outside.

mod health;
mod settings;
mod shutdown;
