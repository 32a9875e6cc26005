//! Whether an address has an account is not told by how long an answer takes.
//!
//! The two kinds of requests alternate in pairs, each pair in a random order, one at a time, so
//! that whatever else the machine does meets both alike. Of each pair the difference counts. A
//! quarter of the differences at either end is left out, because the hiccups of a busy machine
//! outweigh everything else; the mean of the rest is compared with its standard error, from the
//! winsorized variance (Tukey and McLaughlin 1963). Without a cause it is above four of them once
//! in 16,000 runs; a log-in that skips the hash for an unknown address is far above.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::app::{Answer, PASSWORD, TestApp};

/// Pairs that are compared, after some that warm everything up.
const PAIRS: usize = 200;
const WARM_UP: usize = 10;
/// Left out at either end.
const TRIMMED: usize = PAIRS / 4;
/// How many standard errors the mean may be away from nothing.
const NOISE: f64 = 4.0;
/// What is too small to be seen from outside, in seconds, however often it is asked: a part in a
/// hundred of a hash. A query that finds a row takes some µs longer than one that finds none.
const UNSEEN: f64 = 0.0002;

/// One comparison at a time: they would be each other's noise.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Compares requests of two kinds by their times; the caller's `send` gets the kind.
async fn assert_alike(what: &str, mut send: impl AsyncFnMut(bool) -> Answer) {
    let _alone = ALONE.lock().await;
    let seed = Uuid::new_v4().as_u128();
    let mut differences = Vec::with_capacity(PAIRS);
    for pair in 0..WARM_UP + PAIRS {
        let first = seed >> (pair % 128) & 1 == 0;
        let mut times = [Duration::ZERO; 2];
        for known in [first, !first] {
            let begun = Instant::now();
            send(known).await;
            times[usize::from(known)] = begun.elapsed();
        }
        if pair >= WARM_UP {
            differences.push(times[1].as_secs_f64() - times[0].as_secs_f64());
        }
    }
    let (mean, error) = trimmed_mean(differences);
    println!("{what}: a known address takes {mean:+.6} s longer, ± {error:.6} s");
    assert!(
        mean.abs() < NOISE * error + UNSEEN,
        "{what}: a known address takes {mean} s longer, and the noise is only {error} s"
    );
}

/// The mean without both ends, and its standard error.
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn trimmed_mean(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let kept = &values[TRIMMED..values.len() - TRIMMED];
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    // The variance of all, with each of those that were left out at the place of the nearest
    // that was kept.
    let (all, ends) = (values.len() as f64, [kept[0], kept[kept.len() - 1]]);
    let winsorized = || values.iter().map(|value| value.clamp(ends[0], ends[1]));
    let center = winsorized().sum::<f64>() / all;
    let variance = winsorized().map(|v| (v - center).powi(2)).sum::<f64>() / (all - 1.0);
    (mean, variance.sqrt() * all.sqrt() / kept.len() as f64)
}

#[tokio::test]
async fn a_wrong_password_takes_as_long_with_and_without_an_account() {
    let app = TestApp::new().await;
    app.verified("known@example.com").await;
    app.verified("other@example.com").await;
    assert_alike("log-in", async |known| {
        let email = if known {
            "known@example.com"
        } else {
            "nobody@example.com"
        };
        let answer = app.log_in(email, "not the password").await;
        answer.expect(StatusCode::UNAUTHORIZED);
        answer
    })
    .await;
}

#[tokio::test]
async fn a_sign_up_takes_as_long_with_and_without_an_account() {
    let app = TestApp::new().await;
    app.verified("known@example.com").await;
    let mut number = 0;
    assert_alike("sign-up", async |known| {
        number += 1;
        let body = if known {
            json!({ "email": "known@example.com", "password": PASSWORD })
        } else {
            json!({ "email": format!("new-{number}@example.com"), "password": PASSWORD })
        };
        let answer = app.post("/v1/accounts", &body).await;
        answer.expect(StatusCode::ACCEPTED);
        answer
    })
    .await;
}

#[tokio::test]
async fn a_reset_and_a_resend_take_as_long_with_and_without_an_account() {
    let app = TestApp::new().await;
    app.verified("known@example.com").await;
    for path in ["/v1/password-resets", "/v1/accounts/verify/resend"] {
        assert_alike(path, async |known| {
            let email = if known {
                "known@example.com"
            } else {
                "nobody@example.com"
            };
            let answer = app.post(path, &json!({ "email": email })).await;
            answer.expect(StatusCode::ACCEPTED);
            answer
        })
        .await;
    }
}
