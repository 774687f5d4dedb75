use super::*;
use proptest::prelude::*;

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>8f7724cf-496f-496e-8fe3-example</requestId>"#;

/// As the API reference shows one, with members that nobody asks for.
const ONE: &str = r#"
  <reservationSet>
    <item>
      <reservationId>r-1234567890abcdef0</reservationId>
      <ownerId>123456789012</ownerId>
      <groupSet/>
      <instancesSet>
        <item>
          <instanceId>i-1234567890abcdef0</instanceId>
          <imageId>ami-bff32ccc</imageId>
          <instanceState><code>16</code><name>running</name></instanceState>
          <privateDnsName>ip-192-168-1-88.eu-west-1.compute.internal</privateDnsName>
          <reason/>
          <launchTime>2026-11-22T09:00:00.000Z</launchTime>
          <subnetId>subnet-1a2b3c4d</subnetId>
          <vpcId>vpc-1a2b3c4d</vpcId>
          <privateIpAddress>192.168.1.88</privateIpAddress>
          <groupSet><item><groupId>sg-e4076980</groupId><groupName>x</groupName></item></groupSet>
          <tagSet>
            <item><key>Name</key><value>web &amp; more</value></item>
            <item><key>empty</key><value/></item>
          </tagSet>
          <networkInterfaceSet>
            <item>
              <networkInterfaceId>eni-2</networkInterfaceId>
              <attachment><attachmentId>a-2</attachmentId><deviceIndex>1</deviceIndex><attachTime>2026-11-22T10:00:00.000Z</attachTime></attachment>
            </item>
            <item>
              <networkInterfaceId>eni-1</networkInterfaceId>
              <attachment><attachmentId>a-1</attachmentId><deviceIndex>0</deviceIndex><networkCardIndex>0</networkCardIndex><attachTime>2026-11-21T08:00:00.000Z</attachTime></attachment>
              <ipv6AddressesSet><item><ipv6Address>2001:db8::7</ipv6Address></item></ipv6AddressesSet>
            </item>
          </networkInterfaceSet>
          <iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/web</arn><id>AIPA1</id></iamInstanceProfile>
        </item>
      </instancesSet>
    </item>
  </reservationSet>"#;

const END: &str = "</DescribeInstancesResponse>";

fn read(middle: &str) -> Result<Page, Error> {
    instances(format!("{HEAD}{middle}{END}").as_bytes())
}

#[test]
fn one_instance_with_everything() {
    let page = read(&format!("{ONE}<nextToken>more==</nextToken>")).unwrap();
    let tags = [("Name", "web & more"), ("empty", "")];
    let wanted = Instance {
        id: "i-1234567890abcdef0".parse().unwrap(),
        account_id: "123456789012".to_owned(),
        life: Life::Running,
        ami: Some("ami-bff32ccc".to_owned()),
        subnet: Some("subnet-1a2b3c4d".to_owned()),
        vpc: Some("vpc-1a2b3c4d".to_owned()),
        instance_profile: Some("arn:aws:iam::123456789012:instance-profile/web".to_owned()),
        addresses: vec!["192.168.1.88".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        attached_at: Some(Second::from_rfc3339("2026-11-21T08:00:00Z").unwrap()),
        tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    };
    assert_eq!(page, Page { instances: vec![wanted], next: Some("more==".to_owned()) });
}

#[test]
fn what_little_a_terminated_one_has() {
    let gone = r#"<reservationSet><item><ownerId>123456789012</ownerId><instancesSet><item>
        <instanceId>i-0abc</instanceId><instanceState><code>48</code><name>terminated</name></instanceState>
        <networkInterfaceSet/><tagSet/></item></instancesSet></item></reservationSet><nextToken/>"#;
    let page = read(gone).unwrap();
    let [gone] = page.instances.as_slice() else { panic!("{page:?}") };
    assert_eq!((gone.life, gone.attached_at, page.next), (Life::Terminated, None, None));
    assert!(gone.addresses.is_empty() && gone.tags.is_empty());
    for nobody in ["<reservationSet/>", "<reservationSet>\n  </reservationSet>"] {
        assert_eq!(read(nobody).unwrap(), Page { instances: Vec::new(), next: None });
    }
}

/// Who is not in an answer may lose a host: what tells of nobody must say so.
#[test]
fn what_does_not_say_that_nobody_is_there_is_no_answer() {
    for silent in [
        "",
        "<nextToken/>",
        "<reservations/>",
        "<reservationSet/><reservationSet/>",
        "<reservationSet><Item/></reservationSet>",
        "<reservationSet>busy</reservationSet>",
        "<reservationSet><item><ownerId>123456789012</ownerId></item></reservationSet>",
    ] {
        assert_eq!(read(silent), Err(Error::Form), "{silent}");
    }
    let body = "<reservationSet/>";
    for other in [
        format!("<Response>{body}<!-- <DescribeInstancesResponse --></Response>"),
        format!("<x><DescribeInstancesResponse>{body}</DescribeInstancesResponse>{body}</x>"),
        format!("<DescribeInstancesResponses>{body}</DescribeInstancesResponses>"),
    ] {
        assert_eq!(instances(other.as_bytes()), Err(Error::Form), "{other}");
    }
}

#[test]
fn one_that_nests_without_end_is_refused_and_harms_nobody() {
    let deep = "<a>".repeat(1_000_000);
    assert_eq!(read(&deep), Err(Error::Form));
    let closed = format!("{deep}{}<reservationSet/>", "</a>".repeat(1_000_000));
    assert_eq!(read(&closed).unwrap().instances, []);
}

#[test]
fn what_is_not_understood_is_refused_as_a_whole() {
    let check = |from: &str, to: &str, wanted: Error| {
        assert!(ONE.contains(from), "{from}");
        assert_eq!(read(&ONE.replace(from, to)).unwrap_err(), wanted, "{to}");
    };
    let field = |field| Error::Instance { field };
    check("<name>running</name>", "<name>dreaming</name>", field("instanceState"));
    check("<name>running</name>", "", Error::Form);
    check("123456789012</ownerId>", "self</ownerId>", field("ownerId"));
    check("<ownerId>123456789012</ownerId>", "", Error::Form);
    check("i-1234567890abcdef0", "i-../x", field("instanceId"));
    check("192.168.1.88</privateIpAddress>", "192.168.1</privateIpAddress>", field("address"));
    check("2026-11-21T08:00:00.000Z", "yesterday", field("attachTime"));
    check("</instancesSet>", "", Error::Form);
    for other in
        ["", "<html/>", "{}", "\u{0}", "<DescribeInstancesResponse", "<x><DescribeInstancesResponse/></y>"]
    {
        assert_eq!(instances(other.as_bytes()), Err(Error::Form), "{other:?}");
    }
    assert_eq!(instances(b"<DescribeInstancesResponse>\xff</DescribeInstancesResponse>"), Err(Error::Form));
    let large = vec![b' '; LARGEST + 1];
    assert_eq!(instances(&large), Err(Error::TooLarge(LARGEST + 1)));
}

#[test]
fn whose_account_it_is() {
    let answer = |account: &str| {
        account_of(&format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:sts::123456789012:assumed-role/fleet/x</Arn><UserId>AROA:x</UserId>{account}</GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        ))
    };
    assert_eq!(answer("<Account>123456789012</Account>").as_deref(), Ok("123456789012"));
    for bad in ["", "<Account/>", "<Account>12345678901</Account>", "<Account>12345678901x</Account>"] {
        assert_eq!(answer(bad), Err(Error::Form), "{bad}");
    }
    assert_eq!(account_of("<html/>"), Err(Error::Form));
}

fn account_of(body: &str) -> Result<String, Error> {
    account(body.as_bytes())
}

/// An entity of a document's own is not expanded, and none outside of it is read.
#[test]
fn entities_are_not_expanded() {
    let document = format!(
        "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>{}",
        format!("{HEAD}{ONE}{END}")
            .replace("web &amp; more", "&b;")
            .replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "")
    );
    assert_eq!(instances(document.as_bytes()), Err(Error::Form));
}

proptest! {
    #[test]
    fn nothing_panics(noise in proptest::collection::vec(any::<u8>(), 0..400), at in 0..ONE.len()) {
        let _any = instances(&noise);
        let mut cut = format!("{HEAD}{ONE}{END}").into_bytes();
        cut.truncate(at);
        prop_assert!(instances(&cut).is_err());
    }
}
