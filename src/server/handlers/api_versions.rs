//! ApiVersions: what is served, and nothing else.
//!
//! KIPs: 35, 511 (client software, unknown versions), 584 (features).

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::io::World;
use crate::server::dispatch::{self, Call, Started};
use crate::server::response::Response;
use crate::wire::api::{ApiKey, SERVED};
use crate::wire::error::ErrorCode;
use crate::wire::message;

const KEY: i16 = ApiKey::ApiVersions.code();
/// The first version that names the client's software.
const SOFTWARE_FROM: i16 = 3;

/// A version this broker does not know: error 35 in the oldest form, listing what it does know.
pub fn unsupported_version<W: World>(correlation_id: i32) -> Response<W> {
    let response = ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code()).with_api_keys(api_keys());
    dispatch::encoded(KEY, 0, correlation_id, &response)
}

pub fn start<W: World>(call: Call<W>, body: Bytes) -> Started<W> {
    let (version, correlation_id) = (call.header.version, call.header.correlation_id);
    let request: ApiVersionsRequest = match message::decode_request(KEY, version, body) {
        Ok(request) => request,
        Err(error) => return Started::Refused(error.to_string()),
    };
    let named_well = is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    let response = if version >= SOFTWARE_FROM && !named_well {
        call.server.metrics().requests.on_error(KEY, ErrorCode::InvalidRequest.code());
        ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code())
    } else {
        answer(&call)
    };
    Started::Answering(Box::pin(std::future::ready(dispatch::encoded(KEY, version, correlation_id, &response))))
}

fn answer<W: World>(call: &Call<W>) -> ApiVersionsResponse {
    let image = call.server.shard.image();
    let features = image.features();
    let finalized = features.finalized().map(|(name, level)| {
        FinalizedFeatureKey::default().with_name(super::text(name)).with_min_version_level(level).with_max_version_level(level)
    });
    let supported = features.finalized().map(|(name, level)| {
        SupportedFeatureKey::default().with_name(super::text(name)).with_min_version(level.min(1)).with_max_version(level)
    });
    ApiVersionsResponse::default()
        .with_api_keys(api_keys())
        .with_supported_features(supported.collect())
        .with_finalized_features(finalized.collect())
        .with_finalized_features_epoch(features.epoch)
}

fn api_keys() -> Vec<ApiVersion> {
    let line = |api: &crate::wire::api::ServedApi| {
        ApiVersion::default().with_api_key(api.key).with_min_version(api.advertised_min).with_max_version(api.max)
    };
    SERVED.iter().map(line).collect()
}

/// Kafka's pattern: letters, digits, dashes and dots, a letter or digit first and last.
fn is_software_name(name: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    ends(name.bytes().next())
        && ends(name.bytes().last())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_follow_kafkas_pattern() {
        for good in ["librdkafka", "apache-kafka-java", "4.3.1", "a"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a_b", ".", "ä"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
