use super::*;
use proptest::prelude::*;

pub(crate) const KEY: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";

pub(crate) fn identity(url: &str, id: &str, key: &str) -> Identity {
    Identity {
        appliance_url: url.parse().unwrap(),
        host_id: id.parse().unwrap(),
        api_key: ApiKey::new(Zeroizing::new(key.to_owned())).unwrap(),
    }
}

fn good() -> String {
    let id = "app/hosts/123456789012/eu-west-1/i-0123456789abcdef0";
    identity("https://conjur.example.org/api", id, KEY).to_netrc().to_string()
}

#[test]
fn the_one_form() {
    assert_eq!(
        good(),
        format!(
            "machine https://conjur.example.org/api/authn\n    login host/app/hosts/123456789012/eu-west-1/i-0123456789abcdef0\n    password {KEY}\n"
        )
    );
    let longest = identity(&format!("https://{}", "a".repeat(504)), &"a".repeat(512), &"a".repeat(128));
    assert!(longest.to_netrc().len() <= LONGEST, "{}", longest.to_netrc().len());
}

fn url() -> ApplianceUrl {
    "https://conjur.example.org/api".parse().unwrap()
}

/// What is found: an identity, nothing of ours, or what is wrong.
#[track_caller]
fn check(bytes: &[u8], expect: Result<bool, Error>) {
    let found = Identity::find(bytes, &url()).map(|found| found.is_some());
    assert_eq!(found, expect, "{:?}", String::from_utf8_lossy(bytes));
    // It is damage of ours, or it is left alone: never both.
    let identity = identity("https://conjur.example.org/api", "x/y", KEY);
    let put = identity.put_into(bytes);
    assert_eq!(
        put.is_err(),
        expect.is_err_and(|e| e.is_anothers()),
        "{expect:?} {:?}",
        String::from_utf8_lossy(bytes)
    );
    if let Ok(put) = put {
        let after = Identity::find(put.as_bytes(), &url()).unwrap().unwrap();
        assert!(after.host_id.as_str() == "x/y" && after.api_key.expose() == KEY);
    }
}

#[test]
fn what_is_damaged_is_known_from_what_is_good() {
    let good = good();
    check(good.as_bytes(), Ok(true));
    check(good.replace("    ", "\t").as_bytes(), Ok(true));
    check(good.replace("    ", "").as_bytes(), Ok(true));
    check(b"", Err(Error::Empty));
    check(b" \n\n", Err(Error::Empty));
    check(format!("\u{feff}{good}").as_bytes(), Err(Error::Line(1)));
    check(good.replace("https", "http").as_bytes(), Err(Error::Line(1)));
    check(good.replace("/api/", "/api//").as_bytes(), Err(Error::Line(1)));
    check(good.replace("host/app", "host/a b").as_bytes(), Err(Error::Line(2)));
    check(good.replace(KEY, "short").as_bytes(), Err(Error::Line(1)));
    check(good.replace("login", "account").as_bytes(), Err(Error::Truncated));
    check(b"garbage", Err(Error::Truncated));
    check(&[0xff, 0xfe, b'\n'], Err(Error::Line(1)));
    check(&vec![0; LARGEST], Err(Error::Truncated));
    for end in 1..good.len() {
        assert!(Identity::find(&good.as_bytes()[..end], &url()).is_err(), "cut at {end}");
        assert!(Identity::parse(&good.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    for end in good.find("login").unwrap()..good.len() {
        check(&good.as_bytes()[..end], Err(Error::Truncated));
    }
    for text in ["machine", "machine ", "machine https://conj", "machine https://conjur.example.org/au"] {
        check(text.as_bytes(), Err(Error::Truncated));
    }
}

#[test]
fn the_identity_is_found_however_another_tool_wrote_it() {
    let good = good();
    let other = "machine github.com\n login me\n password secret\n";
    for text in [
        format!("{good}\n"),
        format!("# ours\n{good}"),
        good.replace('\n', "\r\n"),
        good.replace('\n', " "),
        good.replace("password ", "password  "),
        format!("{good}{good}"),
        format!("{good}{other}"),
        format!("{other}{good}default login x password y\n"),
        format!("{good}machine github.com"),
        format!("{good}default"),
    ] {
        check(text.as_bytes(), Ok(true));
    }
    for text in [
        other,
        "machine github.com login me password secret",
        "machine\ngithub.com\nlogin me\n",
        "\n\n  machine github.com # work\n  login me\n",
        "machine \"https://conjur.example.org/authn\" login host/x password y\n",
        "machine https://conjur.example.org/authn login host/x password y\n",
        "default login me password secret",
        "macdef init\ncd /\n\n",
        "# nothing but this\n",
    ] {
        check(text.as_bytes(), Ok(false));
    }
    let lower = KEY.replace('0', "1");
    check(format!("{good}{}", good.replace(KEY, &lower)).as_bytes(), Err(Error::Twice));
    check(format!("{other}{}", &good[..good.len() - 1]).as_bytes(), Err(Error::Truncated));
}

#[test]
fn what_cannot_be_edited_is_left_alone() {
    use crate::netrc::Error as Netrc;
    let good = good();
    let check = |text: &str, error: Error| check(text.as_bytes(), Err(error));
    check(&good.replace("host/app", "admin"), Error::Others);
    check(&format!("{good}{}", good.replace("host/app", "admin")), Error::Others);
    check("\u{feff}machine github.com\r\n", Error::Unsafe(Netrc::Characters));
    check("login me account x\n", Error::Unsafe(Netrc::Word(1)));
    check(&format!("{good}machine"), Error::Unsafe(Netrc::Missing(4)));
    check(&format!("{good}macdef init\n"), Error::Unsafe(Netrc::Macro(4)));
    check("machine a login \"b\n", Error::Unsafe(Netrc::Quotes(1)));
}

#[test]
fn what_is_put_and_taken_leaves_the_rest() {
    let other = "machine github.com login me password secret\n";
    let identity = identity("https://conjur.example.org/api", "x/y", KEY);
    let entry = identity.to_netrc().to_string();
    let put = |there: &str| identity.put_into(there.as_bytes()).map(|text| text.to_string());
    let take =
        |there: &str| Identity::take_from(there.as_bytes(), &url()).map(|text| text.map(|t| t.to_string()));
    assert_eq!(put(other), Ok(format!("{other}{entry}")));
    assert_eq!(take(&format!("{other}{entry}")), Ok(Some(other.to_owned())));
    assert_eq!(take(&entry), Ok(None));
    // A file with nothing but an identity is ours, for whichever Conjur.
    let elsewhere = entry.replace("example.org", "example.net");
    assert_eq!((put(&elsewhere), take(&elsewhere)), (Ok(entry.clone()), Ok(None)));
    assert_eq!((put("garbage"), take("garbage")), (Ok(entry.clone()), Ok(None)));
    assert_eq!(take("# a comment\n"), Ok(Some("# a comment\n".to_owned())));
    assert_eq!(take(&format!("# a comment\n{entry}\n")), Ok(Some("# a comment\n\n".to_owned())));
    // A person's login is not ours to take.
    let admin = format!("machine {}\nlogin admin\npassword x\n", url().machine());
    assert_eq!(take(&admin), Ok(Some(admin.clone())));
    assert_eq!(take("machine a login \"b\n").err(), Some(Error::Unsafe(crate::netrc::Error::Quotes(1))));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        id in "[A-Za-z0-9@+=_-]{1,20}(/[A-Za-z0-9@+=_-]{1,20}){0,4}",
        host in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,10}){0,3}(:[1-9][0-9]{0,3})?(/[a-z]{1,8})?",
        key in "[A-Za-z0-9]{16,128}",
    ) {
        let url = format!("https://{host}");
        prop_assume!(url.parse::<ApplianceUrl>().is_ok() && id.parse::<HostId>().is_ok());
        let text = identity(&url, &id, &key).to_netrc();
        let Ok(again) = Identity::parse(text.as_bytes()) else { panic!("{}", *text) };
        prop_assert_eq!(again.appliance_url.as_str(), url.as_str());
        prop_assert_eq!(again.host_id.as_str(), id.as_str());
        prop_assert_eq!(again.api_key.expose(), key.as_str());
        prop_assert_eq!(text.capacity(), LONGEST);
    }

    #[test]
    fn what_is_read_writes_back_but_for_indentation(bytes in "[ -~\n\t]{0,200}|machine https://[a-z./]{1,20}/authn\n *login host/[a-z/]{1,9}\n *password [a-z]{10,30}\n?") {
        if let Ok(identity) = Identity::parse(bytes.as_bytes()) {
            let lines = |text: &str| text.lines().map(|l| l.trim_start().to_owned()).collect::<Vec<_>>();
            prop_assert_eq!(lines(&identity.to_netrc()), lines(&bytes));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _either = Identity::find(&bytes, &url());
    }

    #[test]
    fn what_can_be_read_can_be_edited_and_what_cannot_is_left_alone(
        text in "(machine |login |password |default |macdef |account |https://conjur.example.org/api/authn\n|host/a |host/|admin |[0-9a-z]{20}|#|\"|\\\\|a|[ \n\t\r]){0,25}",
    ) {
        let identity = identity("https://conjur.example.org/api", "x/y", KEY);
        let there = Identity::find(text.as_bytes(), &url());
        match identity.put_into(text.as_bytes()) {
            Err(error) => prop_assert!(error.is_anothers() && there.is_err()),
            Ok(after) => {
                let Ok(Some(found)) = Identity::find(after.as_bytes(), &url()) else { panic!("{text:?}: {}", *after) };
                prop_assert!(found.host_id == identity.host_id && found.api_key.same_as(&identity.api_key));
            }
        }
        if let Ok(Some(left)) = Identity::take_from(text.as_bytes(), &url()) {
            let gone = !matches!(Identity::find(left.as_bytes(), &url()), Ok(Some(_)));
            prop_assert!(gone, "{text:?}: {}", *left);
        }
    }
}
