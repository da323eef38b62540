//! Assertions: once each, so many of a client, and gone when they have expired.

use super::*;

fn used(client: &str, jti: u32, minute: i64) -> Commit {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&jti.to_be_bytes());
    let assertion = Assertion { client: client.into(), jti: hash, at: at(minute), expires_at: at(minute + 5) };
    let expect = vec![
        Expect::Unused { client: client.into(), jti: hash },
        Expect::FewAssertions { client: client.into(), most: 3, at: at(minute) },
    ];
    Commit { expect, assertion: Some(assertion), ..Commit::default() }
}

#[tokio::test]
async fn an_assertion_is_good_once_and_a_client_has_only_so_many_at_a_time() {
    let store = Store::open_temporary().unwrap();
    store.done(used("a", 1, 0)).await;
    assert!(matches!(store.commit(used("a", 1, 0)).await.unwrap(), Committed::Conflict(Expect::Unused { .. })));
    store.done(used("b", 1, 0)).await;
    store.done(used("a", 2, 0)).await;
    store.done(used("a", 3, 1)).await;
    let full = store.commit(used("a", 4, 1)).await.unwrap();
    assert!(matches!(full, Committed::Conflict(Expect::FewAssertions { .. })), "{full:?}");
    store.done(used("b", 4, 1)).await;
    store.done(used("a", 4, 6)).await;
    assert!(matches!(store.commit(used("a", 3, 6)).await.unwrap(), Committed::Conflict(Expect::Unused { .. })));
}

#[tokio::test]
async fn of_many_at_the_same_moment_one_is_taken() {
    let store = Store::open_temporary().unwrap();
    let all: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(used("a", 7, 0)).await.unwrap() })
        })
        .collect();
    let mut taken = 0;
    for one in all {
        taken += usize::from(matches!(one.await.unwrap(), Committed::Done { .. }));
    }
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn what_has_expired_goes() {
    let folder = Folder::new();
    let store = Store::open(&folder.database(), Options::default()).unwrap();
    for n in 0..200 {
        store.done(used(&format!("client {n}"), n, 0)).await;
    }
    for n in 0..10 {
        store.done(used("later", n, 10 * (i64::from(n) + 1))).await;
    }
    store.close();
    let db = rusqlite::Connection::open(folder.database()).unwrap();
    let left: i64 = db.query_row("SELECT count(*) FROM assertion", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
}
