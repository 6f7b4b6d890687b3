use super::address::{Address, origin, redact};
use super::is_url;
#[cfg(feature = "http")]
use super::request::{RequestError, explain, next_address, resolve};

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
fn addresses_are_shown_without_credentials_and_queries() {
    for (url, shown) in [
        ("https://u:p@h:1/a?b=c#d", "https://h:1/a"),
        ("https://u:p@x@h/a", "https://h/a"),
        ("https://h/a@b", "https://h/a@b"),
        // A password may reach into what is by its form a path, a query or a fragment.
        ("https://u:p/w@h/a", "https://..."),
        ("https://u:p?w@h/a", "https://..."),
        ("https://u:p#w@h/a", "https://..."),
        ("https://u:p\\w@h/a", "https://..."),
        ("https://u:12/w@h/a", "https://..."),
        ("https://u:p@x/w@h/a", "https://..."),
        ("https://u:p@h/a?b@c", "https://..."),
        ("s3://u:p/w@h/a", "s3://..."),
        ("file://u:p@h/a", "file://h/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("https://h?token=1", "https://h"),
        ("data:text/plain;base64,AAAA", "data:text/plain,..."),
        ("https://h/a\n\x1bb", r"https://h/a\n\u{1b}b"),
        ("data:\x1b,x", r"data:\u{1b},..."),
    ] {
        assert_eq!(redact(url), shown, "{url}");
    }
}

#[test]
fn no_error_of_an_address_holds_its_password() {
    for password in ["pa/ss", "pa?ss", "pa#ss", "pa\\ss", "12/ss", "12#ss", "pa#sha256=ss", "p@/ss"]
    {
        let text = format!("http://user:{password}@host.example/x");
        let error = match Address::parse(&text) {
            Ok(address) => address.error("nothing"),
            Err(error) => error,
        };
        let shown = format!("{error} {error:?}");
        for part in ["user", "pa", "12", "ss\"", "ss@", "host"] {
            assert!(!shown.replace("password", "").contains(part), "{text}: {shown}");
        }
    }
    let error = Address::parse("http://user:pa/ss@host/x").unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot fetch `http://...`: its password holds a `/`, `?` or `#` as it is\n\
         hint: write `%2F`, `%3F` or `%23`"
    );
    // A port and an `@` in the path are no password for sure, so the address is used.
    assert!(Address::parse("http://host:80/a@b").is_ok());
    assert!(Address::parse("http://[fe80::a]/a@b").is_ok());
    let other = Address::parse("file://user:pa/ss@host/x").unwrap();
    let reason = super::file_path(&other.url).unwrap_err();
    assert!(!reason.contains("user"), "{reason}");
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

#[test]
fn an_origin_is_a_scheme_a_host_and_a_port() {
    for (url, same) in [
        ("https://hub.example/a", "https://hub.example/b?c"),
        ("https://hub.example", "HTTPS://HUB.EXAMPLE:443/"),
        ("http://hub.example/a@b", "http://user@hub.example:80"),
        ("http://[::1]/a", "http://[::1]:80/b"),
    ] {
        assert_eq!(origin(url), origin(same), "{url}");
    }
    for (url, other) in [
        ("https://hub.example/", "http://hub.example/"),
        ("https://hub.example/", "https://hub.example.evil/"),
        ("https://hub.example/", "https://hub.example@evil/"),
        ("https://hub.example/", "https://evil\\@hub.example/"),
        ("https://hub.example/", "https://hub.example:444/"),
        ("http://[::1]:1/", "http://[::1]:2/"),
    ] {
        assert_ne!(origin(url), origin(other), "{other}");
    }
}

#[cfg(feature = "http")]
#[test]
fn a_redirect_stays_on_the_web_and_encrypted() {
    for (url, target, next) in [
        ("http://h/a", "https://x/y", Ok("https://x/y")),
        ("http://h/a", "http://x/y", Ok("http://x/y")),
        ("https://h/a", "/y", Ok("https://h/y")),
        ("https://h/a", "//x/y", Ok("https://x/y")),
        ("https://h/a", "HTTPS://x/y", Ok("HTTPS://x/y")),
        ("https://h/a", "http://h/a", Err("the server redirects from https to http")),
        ("HTTPS://h/a", "HTTP://x/y", Err("the server redirects from https to http")),
        ("https://h/a", "ftp://u:p@x/y?z", Err("the server redirects to `ftp://x/y`")),
        ("https://h/a", "file:///x", Err("the server redirects to `file:///x`")),
    ] {
        let (next, error) = (next.ok(), next.err());
        let found = next_address(url, target);
        assert_eq!(found.as_deref().ok(), next, "{url} {target}");
        assert_eq!(found.err().as_deref(), error, "{url} {target}");
    }
}

#[cfg(feature = "http")]
#[test]
fn a_host_without_an_address_is_not_known_unless_the_resolver_is_silent() {
    let explain = |reason: &str| {
        let error =
            std::io::Error::other(format!("failed to lookup address information: {reason}"));
        explain(&ureq::Error::Io(error), std::time::Duration::ZERO)
    };
    assert_eq!(
        explain("Name or service not known"),
        RequestError::Permanent("the host is not known".to_owned())
    );
    assert_eq!(
        explain("Temporary failure in name resolution"),
        RequestError::Transient("the host's name cannot be resolved".to_owned())
    );
}
