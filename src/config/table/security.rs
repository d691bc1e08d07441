//! Keys of TLS, SASL, authorization and the like, which are not served: setting one refuses the start.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Between, EachOrNone, OneOf, OneOfAnyCase};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "authorizer.class.name", Text = "", Any, Low, ReadOnly, Refused,
        "Class that decides which principal may do what; empty means everyone may do everything.";
    "config.providers", List = "", EachOrNone(&[]), Low, ClusterWide, Refused,
        "Names of the sources that values written as ${name:key} would be read from.";
    "connection.failed.authentication.delay.ms", Int = "100", AtLeast(0), Low, ReadOnly, SizesOnly,
        "Milliseconds a connection is held open after a failed authentication before it is closed.";
    "connections.max.reauth.ms", Long = "0", Any, Medium, ReadOnly, Refused,
        "Milliseconds after which a client must authenticate again; 0 means never.";
    "delegation.token.expiry.check.interval.ms", Long = "3600000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds between two searches for expired delegation tokens.";
    "delegation.token.expiry.time.ms", Long = "86400000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Milliseconds a delegation token is valid before it must be renewed.";
    "delegation.token.max.lifetime.ms", Long = "604800000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Milliseconds after which a delegation token can no longer be renewed.";
    "delegation.token.secret.key", Password = null, Any, Medium, ReadOnly, Refused,
        "Secret that signs delegation tokens; without it tokens are off.";
    "principal.builder.class", Class = "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Any, Medium, PerBroker, Refused,
        "Class that names the principal of a connection.";
    "sasl.client.callback.handler.class", Class = null, Any, Medium, ReadOnly, Refused,
        "Class that answers this broker's own SASL client.";
    "sasl.enabled.mechanisms", List = "GSSAPI", EachOrNone(&[]), Medium, PerBroker, Refused,
        "SASL mechanisms offered to clients.";
    "sasl.jaas.config", Password = null, Any, Medium, PerBroker, Refused,
        "Credentials for SASL, in JAAS syntax.";
    "sasl.kerberos.kinit.cmd", Text = "/usr/bin/kinit", Any, Medium, PerBroker, Refused,
        "Path of the kinit command.";
    "sasl.kerberos.min.time.before.relogin", Long = "60000", Any, Medium, PerBroker, Refused,
        "Milliseconds between two attempts to refresh a Kerberos ticket.";
    "sasl.kerberos.principal.to.local.rules", List = "DEFAULT", EachOrNone(&[]), Medium, PerBroker, Refused,
        "Rules that turn Kerberos principals into short names.";
    "sasl.kerberos.service.name", Text = null, Any, Medium, PerBroker, Refused,
        "Kerberos service name that brokers run under.";
    "sasl.kerberos.ticket.renew.jitter", Double = "0.05", Any, Medium, PerBroker, Refused,
        "Share of the ticket renewal time varied at random.";
    "sasl.kerberos.ticket.renew.window.factor", Double = "0.8", Any, Medium, PerBroker, Refused,
        "Share of a Kerberos ticket's life after which it is renewed.";
    "sasl.login.callback.handler.class", Class = null, Any, Medium, ReadOnly, Refused,
        "Class that answers SASL logins.";
    "sasl.login.class", Class = null, Any, Medium, ReadOnly, Refused,
        "Class that logs in over SASL.";
    "sasl.login.connect.timeout.ms", Int = null, Any, Low, ReadOnly, Refused,
        "Milliseconds to connect to an OAuth provider.";
    "sasl.login.read.timeout.ms", Int = null, Any, Low, ReadOnly, Refused,
        "Milliseconds to wait for an OAuth provider's answer.";
    "sasl.login.refresh.buffer.seconds", Short = "300", Any, Medium, PerBroker, Refused,
        "Seconds kept between a login's refresh and its expiry.";
    "sasl.login.refresh.min.period.seconds", Short = "60", Any, Medium, PerBroker, Refused,
        "Fewest seconds between two refreshes of a login.";
    "sasl.login.refresh.window.factor", Double = "0.8", Any, Medium, PerBroker, Refused,
        "Share of a login's life after which it is refreshed.";
    "sasl.login.refresh.window.jitter", Double = "0.05", Any, Medium, PerBroker, Refused,
        "Share of that time varied at random.";
    "sasl.login.retry.backoff.max.ms", Long = "10000", Any, Low, ReadOnly, Refused,
        "Longest wait, in milliseconds, before a login is tried again.";
    "sasl.login.retry.backoff.ms", Long = "100", Any, Low, ReadOnly, Refused,
        "First wait, in milliseconds, before a login is tried again.";
    "sasl.mechanism.controller.protocol", Text = "GSSAPI", Any, High, ReadOnly, Refused,
        "SASL mechanism used towards controllers.";
    "sasl.mechanism.inter.broker.protocol", Text = "GSSAPI", Any, Medium, PerBroker, Refused,
        "SASL mechanism used between brokers.";
    "sasl.oauthbearer.assertion.algorithm", Text = "RS256", OneOfAnyCase(&["ES256", "RS256"]), Medium, ReadOnly, Refused,
        "Signature algorithm of a client assertion.";
    "sasl.oauthbearer.assertion.claim.aud", Text = null, Any, Medium, ReadOnly, Refused,
        "Audience claim of a client assertion.";
    "sasl.oauthbearer.assertion.claim.exp.seconds", Int = "300", Between(0, 86_400), Low, ReadOnly, Refused,
        "Seconds until a client assertion expires.";
    "sasl.oauthbearer.assertion.claim.iss", Text = null, Any, Medium, ReadOnly, Refused,
        "Issuer claim of a client assertion.";
    "sasl.oauthbearer.assertion.claim.jti.include", Boolean = "false", Any, Medium, ReadOnly, Refused,
        "Whether a client assertion carries a unique id.";
    "sasl.oauthbearer.assertion.claim.nbf.seconds", Int = "60", Between(0, 3600), Low, ReadOnly, Refused,
        "Seconds before now from which a client assertion is valid.";
    "sasl.oauthbearer.assertion.claim.sub", Text = null, Any, Medium, ReadOnly, Refused,
        "Subject claim of a client assertion.";
    "sasl.oauthbearer.assertion.file", Text = null, Any, Medium, ReadOnly, Refused,
        "File that holds a ready client assertion.";
    "sasl.oauthbearer.assertion.private.key.file", Text = null, Any, Medium, ReadOnly, Refused,
        "File that holds the key which signs client assertions.";
    "sasl.oauthbearer.assertion.private.key.passphrase", Password = null, Any, Medium, ReadOnly, Refused,
        "Passphrase of the key which signs client assertions.";
    "sasl.oauthbearer.assertion.template.file", Text = null, Any, Medium, ReadOnly, Refused,
        "File that holds further claims of a client assertion.";
    "sasl.oauthbearer.client.credentials.client.id", Text = null, Any, Medium, ReadOnly, Refused,
        "Client id sent to an OAuth provider.";
    "sasl.oauthbearer.client.credentials.client.secret", Password = null, Any, Medium, ReadOnly, Refused,
        "Client secret sent to an OAuth provider.";
    "sasl.oauthbearer.clock.skew.seconds", Int = "30", Any, Low, ReadOnly, Refused,
        "Seconds by which an OAuth provider's clock may differ.";
    "sasl.oauthbearer.expected.audience", List = "", EachOrNone(&[]), High, ReadOnly, Refused,
        "Audiences one of which a token must carry.";
    "sasl.oauthbearer.expected.issuer", Text = null, Any, High, ReadOnly, Refused,
        "Issuer a token must carry.";
    "sasl.oauthbearer.jwks.endpoint.refresh.ms", Long = "3600000", Any, Low, ReadOnly, Refused,
        "Milliseconds between two readings of an OAuth provider's keys.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long = "10000", Any, Low, ReadOnly, Refused,
        "Longest wait, in milliseconds, before an OAuth provider's keys are asked for again.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long = "100", Any, Low, ReadOnly, Refused,
        "First wait, in milliseconds, before an OAuth provider's keys are asked for again.";
    "sasl.oauthbearer.jwks.endpoint.url", Text = null, Any, Medium, ReadOnly, Refused,
        "Address of an OAuth provider's keys.";
    "sasl.oauthbearer.jwt.retriever.class", Class = "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", Any, Medium, ReadOnly, Refused,
        "Class that fetches tokens.";
    "sasl.oauthbearer.jwt.validator.class", Class = "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", Any, Medium, ReadOnly, Refused,
        "Class that checks tokens.";
    "sasl.oauthbearer.scope", Text = null, Any, Medium, ReadOnly, Refused,
        "Scope asked of an OAuth provider.";
    "sasl.oauthbearer.scope.claim.name", Text = "scope", Any, Low, ReadOnly, Refused,
        "Claim of a token that holds its scope.";
    "sasl.oauthbearer.sub.claim.name", Text = "sub", Any, Low, ReadOnly, Refused,
        "Claim of a token that holds its subject.";
    "sasl.oauthbearer.token.endpoint.url", Text = null, Any, Medium, ReadOnly, Refused,
        "Address of an OAuth provider's tokens.";
    "sasl.server.callback.handler.class", Class = null, Any, Medium, ReadOnly, Refused,
        "Class that answers SASL servers.";
    "sasl.server.max.receive.size", Int = "524288", Any, Medium, ReadOnly, Refused,
        "Largest frame accepted before authentication is complete.";
    "security.inter.broker.protocol", Text = "PLAINTEXT", OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly, Refused,
        "Security protocol between brokers when inter.broker.listener.name is not set.";
    "security.providers", Text = null, Any, Low, ReadOnly, Refused,
        "Java classes that provide security algorithms.";
    "ssl.allow.dn.changes", Boolean = "false", Any, Low, ReadOnly, Refused,
        "Whether a keystore may be replaced by one of another name.";
    "ssl.allow.san.changes", Boolean = "false", Any, Low, ReadOnly, Refused,
        "Whether a keystore may be replaced by one with other alternative names.";
    "ssl.cipher.suites", List = "", EachOrNone(&[]), Medium, PerBroker, Refused,
        "Cipher suites offered; empty means all.";
    "ssl.client.auth", Text = "none", OneOf(&["required", "requested", "none"]), Medium, PerBroker, Refused,
        "Whether clients must show a certificate: required, requested or none.";
    "ssl.enabled.protocols", List = "TLSv1.2,TLSv1.3", EachOrNone(&[]), Medium, PerBroker, Refused,
        "TLS versions offered.";
    "ssl.endpoint.identification.algorithm", Text = "https", Any, Low, PerBroker, Refused,
        "How a server's name is checked against its certificate.";
    "ssl.engine.factory.class", Class = null, Any, Low, PerBroker, Refused,
        "Class that makes TLS engines.";
    "ssl.key.password", Password = null, Any, Medium, PerBroker, Refused,
        "Password of the private key.";
    "ssl.keymanager.algorithm", Text = "SunX509", Any, Medium, PerBroker, Refused,
        "Algorithm of Java's key manager.";
    "ssl.keystore.certificate.chain", Password = null, Any, Medium, PerBroker, Refused,
        "Certificate chain in PEM form.";
    "ssl.keystore.key", Password = null, Any, Medium, PerBroker, Refused,
        "Private key in PEM form.";
    "ssl.keystore.location", Text = null, Any, Medium, PerBroker, Refused,
        "File that holds the private key and its certificate.";
    "ssl.keystore.password", Password = null, Any, Medium, PerBroker, Refused,
        "Password of the keystore.";
    "ssl.keystore.type", Text = "JKS", Any, Medium, PerBroker, Refused,
        "Format of the keystore.";
    "ssl.principal.mapping.rules", Text = "DEFAULT", Any, Low, ReadOnly, Refused,
        "Rules that turn certificate names into principals.";
    "ssl.protocol", Text = "TLSv1.3", Any, Medium, PerBroker, Refused,
        "TLS version connections begin with.";
    "ssl.provider", Text = null, Any, Medium, PerBroker, Refused,
        "Java provider of TLS.";
    "ssl.secure.random.implementation", Text = null, Any, Low, PerBroker, Refused,
        "Java's random generator for TLS.";
    "ssl.trustmanager.algorithm", Text = "PKIX", Any, Medium, PerBroker, Refused,
        "Algorithm of Java's trust manager.";
    "ssl.truststore.certificates", Password = null, Any, Medium, PerBroker, Refused,
        "Trusted certificates in PEM form.";
    "ssl.truststore.location", Text = null, Any, Medium, PerBroker, Refused,
        "File that holds the trusted certificates.";
    "ssl.truststore.password", Password = null, Any, Medium, PerBroker, Refused,
        "Password of the truststore.";
    "ssl.truststore.type", Text = "JKS", Any, Medium, PerBroker, Refused,
        "Format of the truststore.";
};
