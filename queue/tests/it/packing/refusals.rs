//! Payloads that no handler takes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_payload_is_a_dead_letter_and_frees_what_the_job_held() {
    let fixture = encrypting().await;
    let (queue, sent) = (&fixture.queue, Sent::default());
    let mut mine = Envelope::new(&letter(0)).unwrap();
    queue.packer().pack(&mut mine);
    let mut forged = Envelope::new(&letter(0)).unwrap();
    (forged.packing, forged.payload) = (mine.packing, mine.payload);
    forged.unique = Some([7; 16]);
    queue.enqueue_envelope(&forged).await.unwrap();
    let mut bomb = Envelope::new(&letter(0)).unwrap();
    bomb.packing = Some(queue::Packing {
        compressed: true,
        key: None,
    });
    bomb.payload = u32::MAX.to_le_bytes().to_vec();
    queue.enqueue_envelope(&bomb).await.unwrap();
    let worker = Working::start(queue, registry(), &sent);
    assert_settled(queue, 2).await;
    worker.stop().await;
    let letters = queue.dead_letters("default", 9).await.unwrap();
    for letter in &letters {
        assert_eq!(letter.why, "envelope");
        let (id, error) = match Envelope::decode(&letter.envelope).unwrap().id {
            id if id == forged.id => (id, "damaged, or not encrypted for this job with key 7"),
            id => (id, "the compressed payload is damaged"),
        };
        assert!([forged.id, bomb.id].contains(&id));
        assert_eq!(letter.error, error);
    }
    let again = queue.enqueue_envelope(&forged).await.unwrap();
    assert_eq!(again, Enqueued::New(forged.id), "its lock is free");
    assert!(sent.lock().unwrap().is_empty());
    let ran = run_until_empty(queue, registry(), sent).await.unwrap();
    assert_eq!(ran.left.dead, 1);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_an_encrypted_payload_does_not_fit_is_told_without_it() {
    let fixture = encrypting().await;
    let (queue, sent) = (&fixture.queue, Sent::default());
    for (version, name) in [(1, "whom"), (2, "to")] {
        let mut misfit = Envelope::new(&letter(0)).unwrap();
        misfit.version = version;
        let payload = serde_json::json!({ name: "you", "fails": SECRET });
        misfit.payload = serde_json::to_vec(&payload).unwrap();
        queue.enqueue_envelope(&misfit).await.unwrap();
    }
    let worker = Working::start(queue, registry(), &sent);
    assert_settled(queue, 2).await;
    worker.stop().await;
    for letter in queue.dead_letters("default", 9).await.unwrap() {
        let told = "the payload does not fit the job: Data at line ";
        assert!(letter.error.starts_with(told), "{}", letter.error);
        assert!(!letter.error.contains(SECRET), "{}", letter.error);
    }
    assert!(sent.lock().unwrap().is_empty());
    fixture.end().await;
}
