use super::address::{Address, redact};
use super::is_url;
#[cfg(feature = "http")]
use super::talk::resolve;

#[test]
fn schemes_are_known_by_their_start() {
    for url in ["http://a", "HTTPS://a/b", "file:///a", "data:,x", "Data:text/plain,x"] {
        assert!(is_url(url), "{url}");
    }
    for text in
        ["", "a.txt", "http:/a", "C:\\a", "file:a", "s3://a/b", "httpx://a", "//a/b", "@data"]
    {
        assert!(!is_url(text), "{text}");
    }
}

#[test]
fn names_are_unquoted_and_fit_a_file_system() {
    let long = format!("{}.tar.gz", "n".repeat(400));
    for (url, name) in [
        ("http://h/a/b.txt", "b.txt"),
        ("http://h/a/b.txt?x=/c.csv", "b.txt"),
        ("http://h/a%20b%2Bc.txt", "a b+c.txt"),
        ("http://h/%C3%A4.txt", "\u{e4}.txt"),
        ("http://h/100%.txt", "100%.txt"),
        ("http://h/..%2F..%2Fetc%2Fpasswd", ".._.._etc_passwd"),
        ("http://h/a%00b%5Cc", "a_b_c"),
        ("http://h/%2e%2e", "file"),
        ("http://h/a/", "file"),
        ("http://h", "file"),
        ("http://h.com?a/b", "file"),
        (&format!("http://h/{long}"), &format!("{}.tar.gz", "n".repeat(193))),
    ] {
        assert_eq!(Address::parse(url).unwrap().file_name(), name, "{url}");
    }
}

#[test]
fn addresses_are_shown_without_what_is_secret() {
    for (url, shown) in [
        ("https://u:p@h:1/a?b=c#d", "https://h:1/a"),
        ("https://u:p@x@h/a@b", "https://h/a@b"),
        ("https://h?token=1", "https://h"),
        ("data:text/plain;base64,AAAA", "data:text/plain,..."),
        ("https://h/a\nb", "https://h/a\\nb"),
    ] {
        assert_eq!(redact(url), shown, "{url}");
    }
}

#[cfg(feature = "http")]
#[test]
fn redirects_are_resolved_as_the_standard_says() {
    for (target, to) in [
        ("https://x/y", "https://x/y"),
        ("//x/y", "http://x/y"),
        ("/y?z", "http://h:1/y?z"),
        ("y", "http://h:1/a/y"),
        ("../y?q=../r", "http://h:1/y?q=../r"),
        ("../../../y", "http://h:1/y"),
        ("./y/", "http://h:1/a/y/"),
        ("?z", "http://h:1/a/b?z"),
        ("", "http://h:1/a/b"),
        ("y#frag", "http://h:1/a/y"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("javascript:x", "javascript:x"),
    ] {
        assert_eq!(resolve("http://h:1/a/b?c=/d", target), to, "{target}");
    }
    assert_eq!(resolve("http://h", "y"), "http://h/y");
}
