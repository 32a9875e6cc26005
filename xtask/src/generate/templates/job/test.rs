//! The job `widget`: from the outbox to its effect.

use domain::jobs::Widget;

use super::send_email::Fixture;

fn job() -> Widget {
    Widget {
        //# each
        FIELD: SAMPLE,
        //# end
    }
}

#[tokio::test]
async fn it_is_done_and_leaves_nothing() {
    let fixture = Fixture::new(None).await;
    let mut conn = fixture.pool().acquire().await.unwrap();
    outbox::enqueue(&mut conn, &job()).await.unwrap();
    drop(conn);
    fixture.work().await.assert_all_done();
    assert_eq!(fixture.left().await, 0, "its token is spent");
    // Assert here what it has changed.
    fixture.end().await;
}
