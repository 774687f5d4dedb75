use super::*;
use imprint_core::aws::{self, ETag};
use imprint_core::conjur;
use std::cell::{Cell, RefCell};

const KEY: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";
const OTHER: &str = "zyxwvtsrqpnmkjhgfedcba98765432100123456789abcdefgh";
const PLACE: &str = "logins/prod/host/app/hf-rotator.json";

/// A Conjur that knows one key, a bucket with one place, and a KMS that keeps what it sealed.
struct World {
    input: &'static str,
    conjur: &'static str,
    object: RefCell<Option<(Vec<u8>, u32)>>,
    sealed: RefCell<Vec<(String, Context)>>,
    calls: RefCell<Vec<&'static str>>,
    /// The call of this name fails with this code and status.
    fails: Option<(&'static str, &'static str, u16)>,
    /// What lies there after a good put, in the place of what was put.
    swapped: Cell<Option<&'static str>>,
}

impl World {
    fn new(input: &'static str) -> Self {
        Self {
            input,
            conjur: KEY,
            object: RefCell::default(),
            sealed: RefCell::default(),
            calls: RefCell::default(),
            fails: None,
            swapped: Cell::default(),
        }
    }

    fn call(&self, name: &'static str) -> Result<(), effects::Error> {
        self.calls.borrow_mut().push(name);
        match self.fails {
            Some((fails, code, status)) if fails == name => Err(answered(name, code, status)),
            Some(_) | None => Ok(()),
        }
    }
}

fn answered(operation: &'static str, code: &str, status: u16) -> effects::Error {
    aws::Error::Answered { operation, resource: "it".into(), code: code.into(), status }.into()
}

impl login::Effects for World {
    async fn decrypt(
        &self,
        ciphertext: &[u8],
        context: &Context,
    ) -> Result<Zeroizing<Vec<u8>>, effects::Error> {
        self.call("kms:Decrypt")?;
        let at = usize::from(ciphertext[0]);
        let sealed = self.sealed.borrow();
        match sealed.get(at).filter(|(_, under)| under == context) {
            Some((text, _)) => Ok(Zeroizing::new(text.as_bytes().to_vec())),
            None => Err(answered("kms:Decrypt", "InvalidCiphertextException", 400)),
        }
    }

    async fn fetch(&self, key: &str) -> Result<Object, effects::Error> {
        self.call("s3:GetObject")?;
        assert_eq!(key, PLACE);
        match self.object.borrow().clone() {
            Some((bytes, tag)) => Ok(Object { bytes, etag: ETag::new(&tag.to_string()) }),
            None => Err(answered("s3:GetObject", "NoSuchKey", 404)),
        }
    }

    async fn prove_role(&self, _: Option<&Sts>) -> Result<RoleProof, effects::Error> {
        self.call("prove_role")?;
        Ok(RoleProof::new(Zeroizing::new(b"proof".to_vec())))
    }

    fn key(&self, _: &Config) -> Result<ApiKey, crate::config::Error> {
        self.calls.borrow_mut().push("key");
        Ok(ApiKey::new(Zeroizing::new(KEY.to_owned())).unwrap())
    }

    async fn authenticate(&self, login: &str, key: &ApiKey) -> Result<AccessToken, effects::Error> {
        self.call("authenticate")?;
        assert_eq!(login, "host/app/hf-rotator");
        if key.expose() == self.conjur {
            return Ok(AccessToken::new(Zeroizing::default()));
        }
        let (operation, server) = ("authenticate", "it".to_owned());
        Err(conjur::Error::Status { operation, server, status: 401, retry_after: None }.into())
    }

    async fn authenticate_with_role(
        &self,
        service: &ServiceId,
        login: &str,
        proof: RoleProof,
    ) -> Result<AccessToken, effects::Error> {
        self.call("authenticate_with_role")?;
        assert_eq!((service.to_string().as_str(), proof.expose()), ("prod", b"proof".as_slice()));
        assert_eq!(login, "host/app/123456789012/rotator");
        Ok(AccessToken::new(Zeroizing::default()))
    }
}

impl Effects for World {
    async fn encrypt(&self, key: &ApiKey, context: &Context) -> Result<Encrypted, effects::Error> {
        self.call("kms:Encrypt")?;
        let mut sealed = self.sealed.borrow_mut();
        sealed.push((key.expose().to_owned(), context.clone()));
        Ok(Encrypted { ciphertext: vec![u8::try_from(sealed.len() - 1).unwrap()], key_arn: "arn".to_owned() })
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<(), effects::Error> {
        self.call("s3:PutObject")?;
        assert_eq!(key, PLACE);
        let mut object = self.object.borrow_mut();
        let is = object.as_ref().map(|(_, tag)| Only::IfMatch(ETag::new(&tag.to_string())));
        if is.unwrap_or(Only::IfAbsent) != *only {
            return Err(answered("s3:PutObject", "PreconditionFailed", 412));
        }
        let tag = object.as_ref().map_or(1, |(_, tag)| tag + 1);
        let bytes = match self.swapped.take() {
            Some("nothing") => Vec::new(),
            Some(_) => String::from_utf8(bytes).unwrap().replace("prod", "test").into_bytes(),
            None => bytes,
        };
        *object = Some((bytes, tag));
        Ok(())
    }

    fn given(&self) -> io::Result<Zeroizing<String>> {
        match self.input {
            "terminal" => Err(io::ErrorKind::Unsupported.into()),
            input => Ok(Zeroizing::new(input.to_owned())),
        }
    }

    fn now(&self) -> Second {
        Second::from_unix(1_795_334_400)
    }
}

fn config(more: &str) -> Config {
    let text = crate::config::tests::GOOD.replace("deployment", &format!("{more}\ndeployment"));
    Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
}

fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(story)
}

const GOOD: [&str; 6] =
    ["authenticate", "s3:GetObject", "kms:Encrypt", "s3:PutObject", "s3:GetObject", "s3:GetObject"];

#[test]
fn what_is_sealed_logs_in_afterwards() {
    let world = World::new("0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh\n");
    let report = block_on(seal_login(&config(""), &world)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(*world.calls.borrow(), [&GOOD[..], &["kms:Decrypt"]].concat());
    let words = report.to_string();
    assert!(
        words.contains(&format!("s3://example-tokens/{PLACE}")) && words.contains("set sealed_login"),
        "{words}"
    );
    assert!(!words.contains(KEY), "{words}");
    let object = world.object.borrow().clone().unwrap().0;
    assert!(!String::from_utf8_lossy(&object).contains(&KEY[..10]), "the key is sealed");

    // Again, over the first; and now the configuration takes it.
    let used = config("sealed_login = true");
    let report = block_on(seal_login(&used, &world)).unwrap_or_else(|e| panic!("{e}"));
    assert!(!report.to_string().contains("set sealed_login"));
    world.calls.borrow_mut().clear();
    block_on(login::log_in(&used, &world)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(*world.calls.borrow(), ["s3:GetObject", "kms:Decrypt", "authenticate"]);
}

#[test]
fn each_way_to_log_in_asks_for_no_more_than_it_needs() {
    let check = |config: &Config, calls: &[&str]| {
        let world = World::new("");
        block_on(login::log_in(config, &world)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(*world.calls.borrow(), calls);
    };
    check(&config(""), &["key", "authenticate"]);
    check(&config("api_key_file = \"key\""), &["key", "authenticate"]);
    let text = crate::config::tests::GOOD
        .replace("host/app/hf-rotator\"", "host/app/123456789012/rotator\"\nauthn_iam = \"prod\"");
    let by_role = Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap();
    check(&by_role, &["prove_role", "authenticate_with_role"]);

    let world = World::new(KEY);
    let error =
        block_on(login::log_in(&config("sealed_login = true"), &world)).err().expect("nothing is sealed");
    assert!(error.class() == Class::Absent && error.hint().unwrap().contains("seal-login"), "{error}");
    let error = block_on(seal_login(&by_role, &world)).unwrap_err();
    assert!(matches!(error, Error::ByRole) && error.class() == Class::Config);
}

#[test]
fn nothing_is_put_that_does_not_log_in_and_no_failure_is_hidden() {
    let check = |change: &dyn Fn(&mut World), calls: usize, class: Class, say: &str| {
        let mut world = World::new(KEY);
        change(&mut world);
        let before = world.object.borrow().clone();
        let error = block_on(seal_login(&config(""), &world)).expect_err(say);
        let words = imprint_core::error::chain(&error);
        assert!(words.contains(say) && error.class() == class, "{words}: {:?}", error.class());
        assert!(!words.contains(KEY) && !words.contains(OTHER), "{words}");
        let wanted = [&GOOD[..], &["kms:Decrypt"]].concat();
        assert_eq!(*world.calls.borrow(), wanted[..calls], "{words}");
        assert!(calls > 4 || *world.object.borrow() == before, "{words}: something was put");
    };
    check(&|world| world.input = "", 0, Class::Usage, "no API key");
    check(&|world| world.input = "two words of it", 0, Class::Usage, "no API key");
    check(&|world| world.input = "terminal", 0, Class::Usage, "is a terminal");
    check(&|world| world.input = OTHER, 1, Class::Refused, "401");
    check(&|world| world.fails = Some(("s3:GetObject", "SlowDown", 503)), 2, Class::Transient, "SlowDown");
    check(
        &|world| world.fails = Some(("kms:Encrypt", "AccessDeniedException", 400)),
        3,
        Class::Refused,
        "AccessDenied",
    );
    check(
        &|world| world.fails = Some(("s3:PutObject", "AccessDenied", 403)),
        4,
        Class::Refused,
        "AccessDenied",
    );
    check(
        &|world| world.fails = Some(("s3:PutObject", "PreconditionFailed", 412)),
        4,
        Class::Transient,
        "changed meanwhile",
    );
    check(&|world| world.swapped.set(Some("nothing")), 5, Class::Tampered, "is another object");
    check(&|world| world.swapped.set(Some("test")), 5, Class::Tampered, "is another object");
    // Hidden from a role that may not read: something is there, and the condition does not hold.
    check(
        &|world| {
            *world.object.borrow_mut() = Some((b"x".to_vec(), 1));
            world.fails = Some(("s3:GetObject", "AccessDenied", 403));
        },
        4,
        Class::Transient,
        "changed meanwhile",
    );
}

#[test]
fn each_of_those_who_log_in_has_a_key_of_its_own() {
    let with = |more: &str| {
        let text = format!(
            "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\nsealed_login = true\n\
             deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n{more}\
             [[factory]]\nid = \"web\"\nhosts_branch = \"hosts\"\n"
        );
        Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
    };
    let both = with(
        "[fleet]\nlogin = \"host/reaper\"\nsealed_login = true\n[instances]\nlogin = \"host/minter\"\nsealed_login = true\n",
    );
    for (of, place) in [(Whose::Rotator, "rotator"), (Whose::Reaper, "reaper"), (Whose::Minter, "minter")] {
        let config = Ask { of }.whose(&both).unwrap();
        assert_eq!(sealed::object_key(&config), format!("logins/prod/host/{place}.json"));
    }
    for of in [Whose::Reaper, Whose::Minter] {
        let refused = Ask { of }.whose(&with("")).unwrap_err();
        assert!(refused.class() == Class::Config && refused.hint().is_some(), "{refused}");
    }
}
