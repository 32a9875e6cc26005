use super::*;

fn at(id: &str, priority: Priority) -> EntryRef {
    let id = id.parse().unwrap();
    EntryRef { id, priority }
}

fn entry(id: &str, deliveries: u32) -> Entry {
    Entry {
        id: at(id, Priority::Normal),
        deliveries,
        consumer: "me".into(),
        envelope: Vec::new(),
        since: Instant::now(),
    }
}

fn run(board: &Board) -> Option<Taken> {
    match board.try_next(None, &|_| true) {
        Some(Next::Run(taken)) => Some(taken),
        _ => None,
    }
}

#[test]
fn suspects_run_one_at_a_time() {
    let board = Board::new(&[(4, 1)], 4);
    board.put(0, vec![entry("1-0", 3), entry("1-1", 3)], Place::Back, 3);
    assert!(run(&board).unwrap().suspect);
    assert!(run(&board).is_none());
    board.suspect_ran(0);
    assert!(run(&board).unwrap().suspect);
}

#[test]
fn a_suspect_that_waits_behind_another_grows_stale() {
    let board = Board::new(&[(4, 1)], 4);
    board.put(0, vec![entry("1-0", 3), entry("1-1", 3)], Place::Back, 3);
    assert!(run(&board).unwrap().suspect);
    assert!(board.take_stale(0, Duration::from_secs(60)).is_empty());
    let stale = board.take_stale(0, Duration::ZERO);
    let ids: Vec<_> = stale.iter().map(|entry| entry.id.to_string()).collect();
    assert_eq!(ids, ["1-1"]);
}

#[test]
fn lanes_take_turns() {
    let board = Board::new(&[(4, 1), (4, 1)], 4);
    board.put(0, vec![entry("1-0", 1), entry("1-1", 1)], Place::Back, 3);
    board.put(1, vec![entry("2-0", 1), entry("2-1", 1)], Place::Back, 3);
    let lanes: Vec<_> = std::iter::from_fn(|| run(&board))
        .map(|taken| taken.lane)
        .collect();
    assert_eq!(lanes, [0, 1, 0, 1]);
}

#[test]
fn a_full_lane_is_passed_over_until_one_of_its_jobs_ends() {
    let board = Board::new(&[(1, 1), (4, 1)], 4);
    board.put(0, vec![entry("1-0", 1), entry("1-1", 1)], Place::Back, 3);
    board.put(1, vec![entry("2-0", 1), entry("2-1", 1)], Place::Back, 3);
    let lanes: Vec<_> = std::iter::from_fn(|| run(&board))
        .map(|taken| taken.lane)
        .collect();
    assert_eq!(lanes, [0, 1, 1], "the second of the full lane waits");
    assert_eq!(board.room(0, 1, false), Room::default());
    let next = board.try_next(Some(0), &|_| true);
    assert!(matches!(next, Some(Next::Run(taken)) if taken.lane == 0));
}

#[test]
fn the_lanes_of_a_queue_share_its_limit_and_what_it_fetches() {
    let board = Board::new(&[(2, 3), (4, 1)], 8);
    let room = board.room(0, 4, false).of(Priority::Normal);
    assert_eq!(room, 2, "a third of the two slots and four ahead");
    for (lane, id) in [(0, "1-0"), (1, "2-0"), (2, "3-0"), (3, "4-0")] {
        board.put(lane, vec![entry(id, 1)], Place::Back, 3);
    }
    let lanes: Vec<_> = std::iter::from_fn(|| run(&board))
        .map(|taken| taken.lane)
        .collect();
    assert_eq!(lanes, [0, 1, 3]);
    assert_eq!(board.room(0, 1, false).of(Priority::Normal), 1);
    let next = board.try_next(Some(1), &|_| true);
    assert!(matches!(next, Some(Next::Run(taken)) if taken.lane == 2));
}

#[test]
fn what_is_held_is_not_taken_twice() {
    let board = Board::new(&[(4, 1)], 4);
    board.put(0, vec![entry("1-0", 1)], Place::Back, 3);
    board.put(0, vec![entry("1-0", 1)], Place::Back, 3);
    assert!(run(&board).is_some());
    assert!(run(&board).is_none());
    board.release(0, [at("1-0", Priority::Normal)]);
    assert!(board.held(0).is_empty());
}

#[test]
fn what_was_taken_over_runs_first_in_its_order() {
    let board = Board::new(&[(4, 1)], 4);
    board.put(0, vec![entry("2-0", 1), entry("2-1", 1)], Place::Back, 3);
    board.put(0, vec![entry("1-0", 2), entry("1-1", 2)], Place::Front, 3);
    let order: Vec<_> = std::iter::from_fn(|| run(&board))
        .map(|taken| taken.entry.id.to_string())
        .collect();
    assert_eq!(order, ["1-0", "1-1", "2-0", "2-1"]);
}

#[test]
fn fetches_come_in_batches() {
    let board = Board::new(&[(2, 1)], 2);
    assert_eq!(board.room(0, 8, false).of(Priority::Normal), 10);
    board.put(
        0,
        (0..10).map(|n| entry(&format!("1-{n}"), 1)).collect(),
        Place::Back,
        3,
    );
    assert_eq!(board.room(0, 8, false), Room::default());
    for _ in 0..2 {
        run(&board).unwrap();
    }
    while board.room(0, 8, false) == Room::default() {
        assert!(board.try_next(Some(0), &|_| true).is_some());
    }
    assert_eq!(
        board.room(0, 8, false).of(Priority::Normal),
        4,
        "half of the window, with all slots taken"
    );
}

fn of(id: &str, priority: Priority) -> Entry {
    Entry {
        id: at(id, priority),
        ..entry(id, 1)
    }
}

#[test]
fn each_priority_has_its_share_and_none_stands_still() {
    use Priority::{High, Low, Normal};
    let board = Board::new(&[(100, 1)], 100);
    for (priority, jobs) in [(Low, 4), (Normal, 4), (High, 8)] {
        let jobs = (0..jobs).map(|n| of(&format!("1-{n}"), priority));
        board.put(0, jobs.collect(), Place::Back, 3);
    }
    let order: Vec<_> = std::iter::from_fn(|| run(&board))
        .map(|taken| taken.entry.id.priority)
        .collect();
    let starts = |from: usize, of| {
        order[from..from + 7]
            .iter()
            .filter(|one| **one == of)
            .count()
    };
    for from in [0, 7] {
        let shares = [High, Normal, Low].map(|priority| starts(from, priority));
        assert_eq!(shares, [4, 2, 1], "{order:?}");
    }
    assert_eq!(order[14..], [Low, Low], "what nobody else uses");
}

#[test]
fn a_full_level_does_not_keep_another_from_more() {
    let board = Board::new(&[(2, 1)], 2);
    let low = (0..10).map(|n| of(&format!("1-{n}"), Priority::Low));
    let asked = board.room(0, 8, false);
    assert!(asked.is_for_all());
    board.fetched(0, asked, [false, true, true]);
    board.put(0, low.collect(), Place::Back, 3);
    let room = board.room(0, 8, false);
    let priorities: Vec<_> = room.priorities().collect();
    assert_eq!(priorities, [Priority::Normal, Priority::High]);
    assert!(
        !room.is_for_all(),
        "who waited would not hear of the low ones"
    );
    // The next look brought nothing, so there is none until the full one has room.
    board.fetched(0, room, [false, false, false]);
    assert_eq!(board.room(0, 8, false), Room::default());
    let looked: Vec<_> = board.room(0, 8, true).priorities().collect();
    assert_eq!(looked, priorities, "but now and then");
}

#[test]
fn entries_with_one_id_in_two_streams_are_two() {
    let board = Board::new(&[(4, 1)], 4);
    let both = vec![of("1-0", Priority::High), of("1-0", Priority::Low)];
    board.put(0, both, Place::Back, 3);
    assert!(run(&board).is_some() && run(&board).is_some());
    board.release(0, [at("1-0", Priority::High)]);
    assert!(board.held(0).contains(&at("1-0", Priority::Low)));
}
