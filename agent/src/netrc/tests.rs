use super::*;
use proptest::prelude::*;

const OURS: &str = "https://conjur.example.org/authn";
const ENTRY: &str = "machine https://conjur.example.org/authn\n    login host/x\n    password new\n";

fn with(text: &str) -> String {
    Netrc::read(text.as_bytes(), OURS).unwrap().with(ENTRY).to_string()
}

fn without(text: &str) -> String {
    Netrc::read(text.as_bytes(), OURS).unwrap().without(|_| true).to_string()
}

#[test]
fn an_entry_is_added_where_every_reader_finds_it() {
    let check = |text: &str, expect: &str| {
        assert_eq!(with(text), expect, "{text:?}");
        // Once more changes nothing.
        assert_eq!(with(expect), expect, "{text:?}");
    };
    let other = "machine a login b password c\n";
    check("", ENTRY);
    check("# mine\n", &format!("# mine\n{ENTRY}"));
    check(other, &format!("{other}{ENTRY}"));
    check(other.trim_end(), &format!("{other}{ENTRY}"));
    check("default login x\n", &format!("{ENTRY}default login x\n"));
    check(&format!("{other}\n  default login x\n"), &format!("{other}\n{ENTRY}  default login x\n"));
    check("machine a login b default login x\n", &format!("machine a login b \n{ENTRY}default login x\n"));
    let macro_ = "machine a login b\nmacdef init\n  machine https://conjur.example.org/authn\n\n";
    check(macro_, &format!("{macro_}{ENTRY}"));
    let crlf = other.replace('\n', "\r\n");
    check(&crlf, &format!("{crlf}{}", ENTRY.replace('\n', "\r\n")));
}

#[test]
fn a_file_of_many_words_is_read_in_one_go() {
    let others = "machine a login b password c\n# x\n".repeat(1800);
    assert!(others.len() < crate::identity::LARGEST);
    assert_eq!(with(&others), format!("{others}{ENTRY}"));
    assert_eq!(without(&format!("{ENTRY}{others}")), others);
    let line = Netrc::read(format!("{others}machine").as_bytes(), OURS).unwrap_err();
    assert_eq!(line, Error::Missing(3601));
}

#[test]
fn ours_is_replaced_in_place_and_all_others_stay() {
    let check = |text: &str, expect: &str, removed: &str| {
        assert_eq!(with(text), expect, "{text:?}");
        assert_eq!(without(text), removed, "{text:?}");
        assert_eq!(with(expect), expect, "{text:?}");
    };
    let one = "machine https://conjur.example.org/authn login host/y password old";
    let lines = "machine https://conjur.example.org/authn\n\tlogin host/y\n\tpassword old\n";
    let (a, b) = ("machine a\n  login b\n  password c\n", "# of b\nmachine b login \"b b\" # odd\n\n");
    check(&format!("{a}{lines}{b}"), &format!("{a}{ENTRY}{b}"), &format!("{a}{b}"));
    check(&format!("{a}{one}\n{b}"), &format!("{a}{ENTRY}{b}"), &format!("{a}{b}"));
    check(one, ENTRY, "");
    check(
        &format!("{a}  {one}  # note\n{b}"),
        &format!("{a}  {}  # note\n{b}", ENTRY.trim_end()),
        &format!("{a}    # note\n{b}"),
    );
    // Two on one line, and one of ours that another reader would have taken.
    check(
        &format!("machine a login b {one} machine c\n{lines}default\n"),
        &format!("machine a login b \n{ENTRY} machine c\ndefault\n"),
        "machine a login b  machine c\ndefault\n",
    );
    check(
        "machine https://conjur.example.org/authn # here\n login host/y\n # there\n password old\n",
        &format!("{ENTRY}# here\n# there\n"),
        "# here\n# there\n",
    );
    check(
        "machine \"https://conjur.example.org/authn\"\nmachine a\n",
        &format!("{ENTRY}machine a\n"),
        "machine a\n",
    );
    let crlf = |text: &str| text.replace('\n', "\r\n");
    check(&crlf(&format!("{a}{lines}{b}")), &crlf(&format!("{a}{ENTRY}{b}")), &crlf(&format!("{a}{b}")));
    // What is like ours is not ours.
    let like =
        "machine https://conjur.example.org/authn.evil login x password y\nmachine conjur.example.org\n";
    check(like, &format!("{like}{ENTRY}"), like);
}

#[test]
fn what_readers_do_not_agree_on_is_not_edited() {
    let check = |text: &str, expect: Error| {
        assert_eq!(Netrc::read(text.as_bytes(), OURS).err(), Some(expect), "{text:?}");
    };
    check("\u{feff}machine a\n", Error::Characters);
    check("machine a\0\n", Error::Characters);
    check("machine a\u{a0}login b\n", Error::Characters);
    check("machine a\rmachine b\r", Error::Characters);
    assert_eq!(Netrc::read(b"machine \xff\n", OURS).err(), Some(Error::Characters));
    check("machine a\n login \"b\n", Error::Quotes(2));
    check("machine a login \"b", Error::Quotes(1));
    check("machine a password \"b\\\"c\"", Error::Quotes(1));
    check("machine a password \"b\"c", Error::Quotes(1));
    check("machine a password \"x machine y\"", Error::Quotes(1));
    check("machine a password \"x #y\"", Error::Quotes(1));
    check("machine a password b\\ c\n", Error::Quotes(1));
    check("machine a password #b\n", Error::Quotes(1));
    check("machine a\n\nlogin\n", Error::Missing(3));
    check("machine", Error::Missing(1));
    check("machine a\n login\nmachine b\n", Error::Keyword(3));
    check("machine default\n", Error::Keyword(1));
    check("\nuser x\n", Error::Word(2));
    check("garbage", Error::Word(1));
    check("machine a login b c\n", Error::Word(1));
    check("machine a\nmacdef init\n cd x\n", Error::Macro(2));
    check("macdef init", Error::Macro(1));
    check("# machine https://conjur.example.org/authn login x\n", Error::Comment(1));
    check("machine a\n#https://conjur.example.org/authn\n", Error::Comment(2));
}

/// A part of a netrc, on lines of its own.
fn others() -> impl Strategy<Value = String> {
    let word = "[a-zA-Z0-9!$%&'()*+,./:;<=>?@^_`{|}~\\[\\]#-]{1,12}"
        .prop_filter("a value", |word| !word.starts_with('#') && !KEYWORDS.contains(&word.as_str()));
    let word = word.prop_filter("not ours", |word| word != OURS).boxed();
    let gap = prop_oneof![Just(" "), Just("\n  "), Just("\t"), Just("\n\n")];
    prop_oneof![
        (word.clone(), word.clone(), word.clone(), gap)
            .prop_map(|(m, l, p, gap)| format!("machine {m}{gap}login {l}{gap}password {p}\n")),
        (word.clone(), word.clone()).prop_map(|(m, l)| format!("  machine {m} account \"{l} {l}\"  # a b\n")),
        (word.clone(), "[a-z ]{0,9}").prop_map(|(name, body)| format!("macdef {name}\n{body} machine x\n\n")),
        "# [a-z \"\\\\]{0,20}\n",
        Just("\n".to_owned()),
    ]
}

fn ours() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(format!("machine {OURS} login host/y password old\n")),
        Just(format!("machine {OURS}\n\tpassword old\n\tlogin host/y\n")),
        Just(format!("  machine \"{OURS}\" account z\n")),
        Just(format!("machine {OURS}\n")),
    ]
}

proptest! {
    #[test]
    fn an_edit_gives_ours_and_every_other_byte(
        before in proptest::collection::vec(others(), 0..5),
        mine in proptest::collection::vec(ours(), 0..3),
        between in proptest::collection::vec(others(), 0..3),
        default in prop_oneof![Just(""), Just("default login x\n")],
        crlf in any::<bool>(),
    ) {
        let end = |text: String| if crlf { text.replace('\n', "\r\n") } else { text };
        let rest = |mine: &[String]| {
            let mut text = before.concat();
            for (at, part) in between.iter().enumerate() {
                text.push_str(mine.get(at).map_or("", String::as_str));
                text.push_str(part);
            }
            text.push_str(&mine.get(between.len()..).unwrap_or_default().concat());
            end(text + default)
        };
        let (text, expect) = (rest(&mine), rest(&[]));
        prop_assert_eq!(&without(&text), &expect);
        let edited = with(&text);
        prop_assert_eq!(&without(&edited), &expect);
        let netrc = Netrc::read(edited.as_bytes(), OURS).unwrap();
        prop_assert_eq!(netrc.ours.len(), 1);
        prop_assert_eq!((netrc.ours[0].login, netrc.ours[0].password), (Some("host/x"), Some("new")));
        prop_assert_eq!(with(&edited), edited);
    }

    #[test]
    fn no_bytes_panic_and_what_is_edited_is_read(text in "(machine|login|password|default|macdef|https://conjur.example.org/authn|#|\"|\\\\|a|[ \n\t\r]){0,30}") {
        let Ok(netrc) = Netrc::read(text.as_bytes(), OURS) else { return Ok(()) };
        let (with, without) = (netrc.with(ENTRY), netrc.without(|_| true));
        prop_assert!(with.capacity() >= with.len() && without.len() <= text.len() * 2 + 16);
        let after = Netrc::read(with.as_bytes(), OURS).unwrap();
        prop_assert_eq!(after.ours.len(), 1);
        prop_assert_eq!(after.has_others, netrc.has_others);
        prop_assert!(Netrc::read(without.as_bytes(), OURS).unwrap().ours.is_empty());
    }
}
