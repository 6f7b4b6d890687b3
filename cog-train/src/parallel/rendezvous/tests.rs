//! Ranks as threads of one process.

use std::io::Write;
use std::net::TcpListener;

use super::meeting::{accept, connect};
use super::*;

/// Runs a function on each rank, with connections over the loopback device.
fn on_ranks<T: Send>(
    world_size: usize,
    timeout: Duration,
    call: impl Fn(&Rendezvous) -> T + Sync,
) -> Vec<T> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let rank = |rank: usize| {
        let connect_timeout = Duration::from_secs(20);
        let streams = if rank == 0 {
            accept(&listener, world_size, connect_timeout).unwrap()
        } else {
            let mut streams: Vec<_> = (0..world_size).map(|_| None).collect();
            let stream = connect("127.0.0.1", port, rank, world_size, connect_timeout);
            streams[0] = Some(stream.unwrap());
            streams
        };
        call(&Rendezvous::start(rank, streams, timeout, Some(LONG)).unwrap())
    };
    std::thread::scope(|scope| {
        let rank = &rank;
        let ranks: Vec<_> =
            (0..world_size).map(|number| scope.spawn(move || rank(number))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn gather_orders_bytes_by_rank() {
    let bytes = |rank: usize| format!("rank {rank} ").repeat(rank).into_bytes();
    let expected: Vec<_> = (0..4).map(bytes).collect();
    for gathered in on_ranks(4, LONG, |ranks| {
        ranks.gather(b"first").unwrap();
        ranks.gather(&bytes(ranks.rank)).unwrap()
    }) {
        assert_eq!(gathered, expected);
    }
}

#[test]
fn ranks_that_end_alike_know_it() {
    for ends in on_ranks(3, LONG, |ranks| ranks.end(&End::Succeeded, &|_| LONG)) {
        assert_eq!(ends, vec![Some(End::Succeeded); 3]);
    }
}

#[test]
fn the_error_of_a_rank_ends_the_waits_of_all() {
    let errors = on_ranks(3, LONG, |ranks| {
        let failed = End::Failed("full".to_owned());
        let error = match ranks.rank {
            2 => "full".to_owned(),
            _ => ranks.gather(&[]).unwrap_err().to_string(),
        };
        let own = if ranks.rank == 2 { failed } else { End::Failed(error.clone()) };
        let ends = ranks.end(&own, &|_| LONG);
        assert!(ends.iter().all(Option::is_some), "{ends:?}");
        error
    });
    assert_eq!(errors, ["rank 2: full", "rank 2: full", "full"]);
}

#[test]
fn a_lost_rank_ends_the_waits_of_all() {
    let errors = on_ranks(3, LONG, |ranks| {
        if ranks.rank == 1 {
            let stream = ranks.peers[0].as_ref().unwrap().lock().unwrap();
            stream.shutdown(std::net::Shutdown::Both).unwrap();
            return String::new();
        }
        let error = ranks.gather(&[]).unwrap_err().to_string();
        ranks.end(&End::Failed(error.clone()), &|_| LONG);
        error
    });
    assert_eq!(errors[0], "rank 1 is gone: its connection is closed");
    assert_eq!(errors[2], errors[0]);
}

#[test]
fn a_rank_that_hangs_ends_the_waits_of_all() {
    let ends = on_ranks(2, Duration::from_millis(200), |ranks| {
        if ranks.rank == 1 {
            std::thread::sleep(Duration::from_millis(600));
        } else {
            ranks.gather(&[]).unwrap_err();
        }
        ranks.end(&End::Succeeded, &|_| Duration::from_millis(50))
    });
    assert_eq!(ends[0], [Some(End::Waited), None]);
}

#[test]
fn a_rank_that_connects_again_is_taken_by_its_second_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut first = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let numbers = [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat();
    first.write_all(&[meeting::GREETING, &numbers].concat()).unwrap();
    drop(first);
    std::thread::scope(|scope| {
        let rank_0 = scope.spawn(|| accept(&listener, 2, LONG).unwrap());
        let rank_1 = connect("127.0.0.1", port, 1, 2, LONG).unwrap();
        let accepted = rank_0.join().unwrap().pop().flatten().unwrap();
        assert_eq!(accepted.peer_addr().unwrap(), rank_1.local_addr().unwrap());
    });
}

#[test]
fn a_stranger_is_no_rank() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        let rank_0 = scope.spawn(|| accept(&listener, 2, LONG).unwrap());
        for words in ["GET / HTTP/1.1\r\n\r\n and more, to fill a greeting", ""] {
            let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stranger.write_all(words.as_bytes()).unwrap();
        }
        let rank_1 = connect("127.0.0.1", port, 1, 2, LONG).unwrap();
        let accepted = rank_0.join().unwrap().pop().flatten().unwrap();
        assert_eq!(accepted.peer_addr().unwrap(), rank_1.local_addr().unwrap());
    });
}

/// Rank 1 is connected, as a stopped process is, and sends nothing; rank 2 hears of it from rank 0.
#[test]
fn a_silent_rank_ends_the_waits_of_all() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let rank_0 = || {
        let streams = accept(&listener, 3, LONG).unwrap();
        Rendezvous::start(0, streams, LONG, Some(Duration::from_secs(1))).unwrap()
    };
    let errors = std::thread::scope(|scope| {
        let rank_0 = scope.spawn(rank_0);
        let _silent = connect("127.0.0.1", port, 1, 3, LONG).unwrap();
        let mut streams: Vec<_> = (0..3).map(|_| None).collect();
        streams[0] = Some(connect("127.0.0.1", port, 2, 3, LONG).unwrap());
        let ranks =
            [rank_0.join().unwrap(), Rendezvous::start(2, streams, LONG, Some(LONG)).unwrap()];
        ranks.map(|rank| rank.gather(&[]).unwrap_err().to_string())
    });
    assert_eq!(errors, ["rank 1 has not answered for 1 s"; 2]);
}

#[cfg(feature = "mpi")]
#[test]
fn ranks_that_begin_different_operations_are_named() {
    let errors = on_ranks(2, LONG, |ranks| {
        let operation = if ranks.rank == 0 { Operation::Sum } else { Operation::Agree };
        ranks.begin(operation);
        ranks.receive(1 - ranks.rank).unwrap_err().to_string()
    });
    for error in errors {
        assert!(
            error.starts_with("rank 1 calls `agree` where rank 0 calls `sum`\nhint: "),
            "{error}"
        );
    }
}
