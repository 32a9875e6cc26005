//! What applications test their jobs with.

mod attempt;
mod clock;
mod run;
mod waiting;
