use super::*;
use crate::caller::RunId;

fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

pub(super) fn caller() -> Caller {
    let run = RunId::new(Second::from_unix(0), 1);
    Caller::new("imprint-test/0.1.0", "test", &run)
}

/// Where this process, with its environment, would send to.
fn told(region: &str) -> String {
    block_on(async {
        let aws = Aws::on_instance(region, &Trust::Public, &caller(), &Clock::default()).await.unwrap();
        let told = aws.endpoints("tokens-123").await;
        told.map(Option::unwrap_or_default).join(" ")
    })
}

/// The same in a process of its own with these variables, since those of a running one are never changed.
fn told_with(region: &str, variables: &[(&str, &str)]) -> String {
    let this = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(this);
    child.args([
        "--exact",
        "aws::tests::partitions_fips_dual_stack_and_overrides_are_what_aws_config_says",
        "--nocapture",
    ]);
    child
        .env_clear()
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    child.env("IMPRINT_TEST_REGION", region).envs(variables.iter().copied());
    let output = String::from_utf8(child.output().unwrap().stdout).unwrap();
    let told = output.lines().find_map(|line| line.split_once("told: "));
    told.unwrap_or_else(|| panic!("{output}")).1.to_owned()
}

#[test]
fn partitions_fips_dual_stack_and_overrides_are_what_aws_config_says() {
    if let Ok(region) = std::env::var("IMPRINT_TEST_REGION") {
        // The process that `told_with` started.
        return println!("told: {}", told(&region));
    }
    let check = |region, variables: &[(&str, &str)], want: &str| {
        assert_eq!(told_with(region, variables), want, "{region} {variables:?}");
    };
    check(
        "eu-west-1",
        &[],
        "https://tokens-123.s3.eu-west-1.amazonaws.com https://kms.eu-west-1.amazonaws.com",
    );
    check(
        "cn-north-1",
        &[],
        "https://tokens-123.s3.cn-north-1.amazonaws.com.cn https://kms.cn-north-1.amazonaws.com.cn",
    );
    check(
        "us-gov-west-1",
        &[],
        "https://tokens-123.s3.us-gov-west-1.amazonaws.com https://kms.us-gov-west-1.amazonaws.com",
    );
    check(
        "eusc-de-east-1",
        &[],
        "https://tokens-123.s3.eusc-de-east-1.amazonaws.eu https://kms.eusc-de-east-1.amazonaws.eu",
    );
    check(
        "us-east-1",
        &[("AWS_USE_FIPS_ENDPOINT", "true")],
        "https://tokens-123.s3-fips.us-east-1.amazonaws.com https://kms-fips.us-east-1.amazonaws.com",
    );
    check(
        "eu-west-1",
        &[("AWS_USE_DUALSTACK_ENDPOINT", "true")],
        "https://tokens-123.s3.dualstack.eu-west-1.amazonaws.com https://kms.eu-west-1.api.aws",
    );
    check(
        "eu-west-1",
        &[("AWS_ENDPOINT_URL_S3", "https://s3.vpce.example.org:8443/")],
        "https://tokens-123.s3.vpce.example.org:8443 https://kms.eu-west-1.amazonaws.com",
    );
    check(
        "eu-west-1",
        &[("AWS_ENDPOINT_URL", "https://aws.example.org")],
        "https://tokens-123.aws.example.org https://aws.example.org",
    );
}

#[test]
fn without_credentials_nothing_is_sent() {
    block_on(async {
        let aws = Aws::on_instance("eu-west-1", &Trust::Public, &caller(), &Clock::default()).await.unwrap();
        let error = aws.bucket("tokens-123", None).get("key", 1).await.unwrap_err();
        assert!(crate::error::chain(&error).contains("credentials"), "{error:?}");
    });
}
