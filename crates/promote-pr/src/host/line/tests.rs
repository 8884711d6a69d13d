use super::*;

fn headers(etag: &str) -> HeaderMap {
    [(ETAG, HeaderValue::from_str(etag).unwrap()), (LINK, HeaderValue::from_static("<x>; rel=\"next\""))]
        .into_iter()
        .collect()
}

#[test]
fn answers_are_kept_up_to_a_size() {
    let mut seen = Seen::default();
    seen.keep("/a".to_owned(), &headers("\"1\""), Some(b"one".to_vec()));
    let (etag, kept) = seen.get("/a").unwrap();
    assert_eq!((etag, kept.response().body().as_ref()), (HeaderValue::from_static("\"1\""), b"one".as_slice()));
    assert!(kept.response().headers().contains_key(LINK));
    seen.keep("/a".to_owned(), &HeaderMap::new(), Some(b"two".to_vec()));
    assert!(seen.get("/a").is_none());

    for n in 0..4 {
        seen.keep(format!("/{n}"), &headers("\"1\""), Some(vec![0; MAX_REMEMBERED / 3]));
        seen.get("/0");
    }
    let left: Vec<bool> = (0..4).map(|n| seen.get(&format!("/{n}")).is_some()).collect();
    assert_eq!(left, [true, false, false, true]);
    assert!(seen.bytes <= MAX_REMEMBERED);
}

#[test]
fn accounts_are_shared_by_credential_and_origin() {
    let accounts = Accounts::default();
    let of = |origin: &str, token: &str| accounts.account(Provider::GitHub, origin, token);
    assert!(Arc::ptr_eq(&of("https://a", "1"), &of("https://a", "1")));
    assert!(!Arc::ptr_eq(&of("https://a", "1"), &of("https://a", "2")));
    assert!(!Arc::ptr_eq(&of("https://a", "1"), &of("https://b", "1")));
    assert!(!format!("{accounts:?}").contains("hunter"));
}
