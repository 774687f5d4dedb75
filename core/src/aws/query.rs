//! Calls of AWS's query protocol, for which the SDK's clients are not taken: POST, a form, an answer in XML.
//!
//! Source: the API references of EC2 ("Query requests") and STS; "Create a signed AWS API request" in the
//! IAM User Guide.

use super::connector::Connector;
use super::sign::{Unsigned, sign};
use super::{Clock, Error, TIMEOUT};
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use aws_types::service_config::ServiceConfigKey;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A service of the query protocol in one region.
#[derive(Clone, Debug)]
pub(super) struct Query {
    way: Connector,
    keys: SharedCredentialsProvider,
    clock: Clock,
    region: String,
    /// Its name in a signature's scope.
    service: &'static str,
    endpoint: String,
}

impl Query {
    /// The service of the loaded configuration; `id` is its name there, as in `AWS_ENDPOINT_URL_<id>`.
    pub(super) fn new(
        config: &SdkConfig,
        (service, id): (&'static str, &'static str),
        way: Connector,
        keys: SharedCredentialsProvider,
        clock: Clock,
    ) -> Self {
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let variants = [config.use_fips().unwrap_or(false), config.use_dual_stack().unwrap_or(false)];
        let endpoint = overridden(config, id).unwrap_or_else(|| endpoint(service, &region, variants));
        Self { way, keys, clock, region, service, endpoint }
    }

    /// The same for answers that may have so many bytes.
    pub(super) fn reading(self, most: usize) -> Self {
        Self { way: self.way.reading(most), ..self }
    }

    /// The same at a stand-in.
    #[cfg(test)]
    pub(super) fn at(self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), ..self }
    }

    /// One request, and its whole answer if it is a good one.
    ///
    /// # Errors
    /// See [`Error`]; `operation` is IAM's name of the call.
    pub(super) async fn call(
        &self,
        operation: &'static str,
        version: &str,
        parameters: &[(String, String)],
    ) -> Result<Vec<u8>, Error> {
        let action = operation.split_once(':').map_or(operation, |(_, action)| action);
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            form.push_str(&format!("&{}={}", encode(name), encode(value)));
        }
        let resource = || self.endpoint.clone();
        let late = |_| Error::TimedOut { operation, resource: resource(), within: TIMEOUT };
        let call = self.clock.signed(operation, async || self.send(&form).await);
        let ended = tokio::time::timeout(TIMEOUT, call).await.map_err(late)?;
        ended.map_err(|error| Error::of(operation, resource(), error))
    }

    async fn send(&self, form: &str) -> Result<Vec<u8>, SdkError<ErrorMetadata, HttpResponse>> {
        let keys = self.keys.provide_credentials().await;
        let keys = keys.map_err(|error| SdkError::construction_failure(Box::new(error)))?;
        let kind = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let uri = format!("{}/", self.endpoint);
        let request = Unsigned {
            method: "POST",
            uri: &uri,
            headers: &kind,
            body: form.as_bytes(),
            service: self.service,
            region: &self.region,
            tells_digest: false,
        };
        let signed = sign(&request, &keys, self.clock.now()).map_err(SdkError::construction_failure)?;
        let mut request = http::Request::post(&uri).header(CONTENT_TYPE, kind[0].1);
        for (name, value) in &signed {
            request = request.header(name, value.as_str());
        }
        let request =
            request.body(SdkBody::from(form)).map_err(|e| SdkError::construction_failure(Box::new(e)))?;
        let request = request.try_into().map_err(|e: aws_smithy_runtime_api::http::HttpError| {
            SdkError::construction_failure(Box::new(e))
        })?;
        let mut reply = self.way.call(request).await.map_err(SdkError::dispatch_failure)?;
        let body = reply.take_body().collect().await;
        let body = body.map_err(|e| SdkError::dispatch_failure(ConnectorError::io(e)))?.to_bytes();
        if reply.status().is_success() {
            return Ok(body.into());
        }
        let code = code(&body).unwrap_or_else(|| "Unknown".to_owned());
        Err(SdkError::service_error(ErrorMetadata::builder().code(code).build(), reply))
    }
}

/// What environment and profile put in the place of the usual endpoint, as the SDK's own clients read it.
fn overridden(config: &SdkConfig, id: &str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(id).env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let own = key.build().ok().and_then(|key| config.service_config()?.load_config(key));
    let url = own.or_else(|| config.endpoint_url().map(str::to_owned))?;
    Some(url.trim_end_matches('/').to_owned())
}

/// Where a service answers; `[fips, dual_stack]`. Source: EC2's and STS's endpoint rules, as the SDK has them.
fn endpoint(service: &str, region: &str, [fips, dual_stack]: [bool; 2]) -> String {
    let suffix = match (region, dual_stack) {
        (region, false) if region.starts_with("cn-") => "amazonaws.com.cn",
        (region, true) if region.starts_with("cn-") => "api.amazonwebservices.com.cn",
        (region, _) if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        (region, _) if region.starts_with("us-isof-") => "csp.hci.ic.gov",
        (region, _) if region.starts_with("us-iso-") => "c2s.ic.gov",
        (region, _) if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        (region, _) if region.starts_with("eusc-") => "amazonaws.eu",
        (_, false) => "amazonaws.com",
        (_, true) => "api.aws",
    };
    // In GovCloud the usual endpoint is the one of FIPS, and there is no other.
    let is_fips_already = region.starts_with("us-gov-") && !dual_stack;
    let fips = if fips && !is_fips_already { "-fips" } else { "" };
    format!("https://{service}{fips}.{region}.{suffix}")
}

/// The error's code in an answer of either service.
fn code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_code =
        (1..=100).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    is_code.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_service_answers() {
        let check = |service, region, variants, wanted: &str| {
            assert_eq!(endpoint(service, region, variants), format!("https://{wanted}"));
        };
        check("ec2", "eu-west-1", [false, false], "ec2.eu-west-1.amazonaws.com");
        check("ec2", "us-east-1", [true, false], "ec2-fips.us-east-1.amazonaws.com");
        check("ec2", "us-gov-west-1", [true, false], "ec2.us-gov-west-1.amazonaws.com");
        check("sts", "us-gov-east-1", [true, false], "sts.us-gov-east-1.amazonaws.com");
        check("ec2", "us-gov-west-1", [true, true], "ec2-fips.us-gov-west-1.api.aws");
        check("sts", "eu-west-1", [false, true], "sts.eu-west-1.api.aws");
        check("ec2", "cn-north-1", [false, false], "ec2.cn-north-1.amazonaws.com.cn");
        check("ec2", "cn-north-1", [false, true], "ec2.cn-north-1.api.amazonwebservices.com.cn");
        check("ec2", "us-iso-east-1", [false, false], "ec2.us-iso-east-1.c2s.ic.gov");
        check("ec2", "us-isob-east-1", [false, false], "ec2.us-isob-east-1.sc2s.sgov.gov");
        check("ec2", "us-isof-south-1", [false, false], "ec2.us-isof-south-1.csp.hci.ic.gov");
        check("ec2", "eu-isoe-west-1", [false, false], "ec2.eu-isoe-west-1.cloud.adc-e.uk");
        check("ec2", "eusc-de-east-1", [false, false], "ec2.eusc-de-east-1.amazonaws.eu");
    }

    #[test]
    fn codes_of_errors() {
        let check =
            |body: &str, wanted: Option<&str>| assert_eq!(code(body.as_bytes()).as_deref(), wanted, "{body}");
        let ec2 = "<Response><Errors><Error><Code>InvalidInstanceID.NotFound</Code><Message>x</Message></Error></Errors></Response>";
        check(ec2, Some("InvalidInstanceID.NotFound"));
        check(
            "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code></Error></ErrorResponse>",
            Some("ExpiredToken"),
        );
        check("<Code></Code>", None);
        check("<Code>a b</Code>", None);
        check("<Code>open", None);
        check(&format!("<Code>{}</Code>", "a".repeat(101)), None);
        check("<html>busy</html>", None);
        assert_eq!(code(b"<Code>\xff</Code>"), None);
    }
}
