//! AWS Signature Version 4 in the Authorization header, for a request without a query.
//!
//! Source: "Create a signed AWS API request" in the IAM User Guide.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// The role's credentials, and the region that they are used in.
pub(crate) struct Keys<'a> {
    pub(crate) region: &'a str,
    pub(crate) access_key: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) session: &'a str,
}

impl Keys<'_> {
    /// These headers and those that a signature needs, all signed but the last, which is the signature.
    #[expect(clippy::disallowed_methods, reason = "a yardstick has no clock to correct")]
    pub(crate) fn signed(
        &self,
        service: &str,
        host: &str,
        method: &str,
        path: &str,
        also: &[(&'static str, &str)],
        body: &str,
    ) -> Vec<(&'static str, String)> {
        let date = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        let digest = hex(&Sha256::digest(body));
        let mut headers: Vec<_> = also.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        headers.push(("x-amz-content-sha256", digest.clone()));
        headers.push(("x-amz-date", date.clone()));
        headers.push(("x-amz-security-token", self.session.to_owned()));

        let mut all: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.push(("host", host));
        all.sort_unstable();
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{digest}");

        let scope = format!("{day}/{}/{service}/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let first = format!("AWS4{}", self.secret).into_bytes();
        let key = [day, self.region, service, "aws4_request"].iter().fold(first, |key, part| mac(&key, part));
        let signature = hex(&mac(&key, &text));
        headers.push((
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
                self.access_key
            ),
        ));
        headers
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
