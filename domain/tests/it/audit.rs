//! What admins have done.

use domain::accounts::delete;
use domain::audit::{Action, Recorded, list, purge, record};
use migrations::testing::database;

use crate::accounts::{PASSWORD, password, verified};

fn names(actions: &[Recorded]) -> Vec<&str> {
    actions.iter().map(|action| &*action.action).collect()
}

#[tokio::test]
async fn actions_are_listed_newest_first_and_outlive_their_account() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    let retry = Action {
        name: "retry",
        queue: Some("default"),
        target: Some("0197a5b2"),
    };
    let alone = |name| Action {
        name,
        queue: None,
        target: None,
    };
    for action in [alone("sign_in"), retry, alone("sign_out")] {
        record(pool, account, "request-1", &action).await.unwrap();
    }
    let all = list(pool, None, 10).await.unwrap();
    assert_eq!(names(&all), ["sign_out", "retry", "sign_in"]);
    let shown = (all[1].queue.as_deref(), all[1].target.as_deref());
    assert_eq!(shown, (retry.queue, retry.target));
    assert_eq!(all[1].email.as_deref(), Some("Ada@Example.com"));
    assert_eq!(all[1].request_id, "request-1");
    let rest = list(pool, Some(all[0].id), 1).await.unwrap();
    assert_eq!(rest, all[1..2]);

    delete(pool, account, password(PASSWORD)).await.unwrap();
    let all = list(pool, None, 10).await.unwrap();
    assert_eq!(names(&all), ["sign_out", "retry", "sign_in"]);
    assert_eq!((all[0].account_id, &all[0].email), (account, &None));
    assert_eq!(purge(pool, 10).await.unwrap(), 0);
}

#[tokio::test]
async fn an_action_that_is_no_word_is_refused() {
    let database = database().await;
    let pool = &database.pool;
    let account = verified(pool).await;
    for name in ["", "Retry", "retry all", "_"] {
        let action = Action {
            name,
            queue: None,
            target: None,
        };
        assert!(record(pool, account, "", &action).await.is_err(), "{name}");
    }
}
