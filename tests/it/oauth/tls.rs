//! TLS at the real program: certificates that change while it serves, and callers that show theirs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Client, Identity, Response};
use sha2::{Digest, Sha256};

use super::{JWT_BEARER, Key, form, now, registry};
use crate::program::{PATIENCE, Program};

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate that was signed, with its key.
struct Signed {
    pem: String,
    key: String,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self) -> Signed {
        self.sign_with(|_| {})
    }

    fn sign_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
        change(&mut params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    /// A caller that trusts this authority, and shows a certificate or none. Each has connections of its own.
    fn caller(&self, shown: Option<&Signed>) -> Client {
        let root = Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let builder =
            Client::builder().no_proxy().tls_certs_only([root]).tls_info(true).timeout(Duration::from_secs(10));
        match shown {
            Some(signed) => {
                let both = format!("{}{}", signed.key, signed.pem);
                builder.identity(Identity::from_pem(both.as_bytes()).unwrap()).build().unwrap()
            }
            None => builder.build().unwrap(),
        }
    }
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tls-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn put(folder: &Path, signed: &Signed) {
    std::fs::write(folder.join("key.pem"), &signed.key).unwrap();
    std::fs::write(folder.join("cert.pem"), &signed.pem).unwrap();
}

const TLS: &str = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";

/// The certificate that the gateway shows to this caller.
async fn shown_to(caller: &Client, url: &str) -> Vec<u8> {
    let answer = caller.get(format!("{url}/health/live")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn a_new_certificate_is_taken_up_and_a_broken_one_leaves_the_old_in_force() {
    for (reload_s, by_signal) in [(1, false), (3600, true)] {
        let (folder, authority) = (folder(), Authority::new());
        let (first, second) = (authority.sign(), authority.sign());
        put(&folder, &first);
        let program = Program::start(&folder, &format!("[oauth]\nreload_s = {reload_s}\n{TLS}"), &[]);
        assert!(program.url.starts_with("https://"));
        let early = authority.caller(None);
        assert_eq!(shown_to(&early, &program.url).await, first.der);
        assert!(
            Client::builder().no_proxy().build().unwrap().get(&program.url).send().await.is_err(),
            "no such authority"
        );

        let said = |word: &str| program.log().matches(word).count();
        let ask = || by_signal.then(|| program.signal("-HUP"));
        put(&folder, &second);
        ask();
        until("the new certificate", async || shown_to(&authority.caller(None), &program.url).await == second.der)
            .await;
        assert_eq!(shown_to(&early, &program.url).await, first.der, "a connection that is open stays");

        std::fs::write(folder.join("cert.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        ask();
        until("a broken one is said", async || said("the old stay") >= 1).await;
        assert_eq!(shown_to(&authority.caller(None), &program.url).await, second.der);
        std::fs::write(folder.join("cert.pem"), &first.pem).unwrap();
        ask();
        until("one without its key is said", async || said("do not belong together") >= 1).await;
        assert_eq!(shown_to(&authority.caller(None), &program.url).await, second.der);
        put(&folder, &first);
        ask();
        until("the first again", async || shown_to(&authority.caller(None), &program.url).await == first.der).await;
        program.stop().await;
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[actix_web::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let (folder, authority) = (folder(), Authority::new());
    let (one, other) = (authority.sign(), authority.sign());
    put(&folder, &one);
    std::fs::write(folder.join("key.pem"), &other.key).unwrap();
    let file = folder.join("gateway.toml");
    std::fs::write(&file, format!("[gateway]\nlisten = \"127.0.0.1:0\"\n{TLS}")).unwrap();
    let (code, said) = crate::program::run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("do not belong together"), "{said}");
    let _ = std::fs::remove_dir_all(folder);
}

/// What the registry is answered that asks for a token over this caller's connection.
async fn asked(caller: &Client, program: &Program, key: &Key) -> reqwest::Result<Response> {
    let token_url = format!("{}/oauth/token", program.url);
    let assertion = key.sign(&serde_json::json!({
        "iss": "registry", "sub": "registry", "aud": token_url, "exp": now() + 60, "jti": uuid::Uuid::new_v4().to_string(),
    }));
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.as_str()),
    ];
    let request = caller.post(&token_url).header("Content-Type", "application/x-www-form-urlencoded");
    request.body(form(&fields)).send().await
}

async fn read_with(caller: &Client, program: &Program, token: &str) -> reqwest::Result<u16> {
    let request = caller.get(format!("{}/fhir/Procedure", program.url)).bearer_auth(token);
    request.send().await.map(|answer| answer.status().as_u16())
}

#[actix_web::test]
async fn callers_certificates_are_demanded_and_a_token_is_good_only_with_the_one_it_is_bound_to() {
    let (folder, authority, elsewhere) = (folder(), Authority::new(), Authority::new());
    let (own, mine, theirs, strange) = (authority.sign(), authority.sign(), authority.sign(), elsewhere.sign());
    put(&folder, &own);
    std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    let key = Key::es384("k1");
    std::fs::write(folder.join("registry.json"), key.jwks()).unwrap();
    let print: String = Sha256::digest(&mine.der).iter().map(|b| format!("{b:02X}:")).collect();
    let bound = format!("client_certificate = [\"sha256:{}\"]\n", print.trim_end_matches(':'));
    for demanded in [false, true] {
        let settings = format!(
            "{TLS}client_ca = \"ca.pem\"\nrequire_client_certificate = {demanded}\n{}{bound}",
            registry("system/Procedure.rs")
        );
        let program = Program::start(&folder, &settings, &[]);
        let ask = async |caller: &Client| asked(caller, &program, &key).await;
        let bearer = authority.caller(Some(&mine));
        let answer = ask(&bearer).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let answer: serde_json::Value = answer.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap();
        let read = async |caller: &Client| read_with(caller, &program, token).await;
        assert_eq!(read(&bearer).await.unwrap(), 200);
        let thief = authority.caller(Some(&theirs));
        assert_eq!(ask(&thief).await.unwrap().status().as_u16(), 401);
        assert_eq!(read(&thief).await.unwrap(), 401, "the token is good only with its certificate");
        let without = authority.caller(None);
        match demanded {
            true => assert!(read(&without).await.is_err()),
            false => assert_eq!(read(&without).await.unwrap(), 401),
        }
        assert!(read(&authority.caller(Some(&strange))).await.is_err(), "another authority's");
        program.stop().await;
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// A certificate with a name for its owner, and an address of a service.
fn of(authority: &Authority, common_name: &str, uri: &str) -> Signed {
    authority.sign_with(|params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "SE");
        params.distinguished_name.push(DnType::OrganizationName, "Region Exempel, Vård");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    })
}

#[actix_web::test]
async fn a_renewed_certificate_of_the_same_authority_and_name_is_as_good_as_the_one_before() {
    let (folder, authority, elsewhere) = (folder(), Authority::new(), Authority::new());
    put(&folder, &authority.sign());
    std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    let key = Key::es384("k1");
    std::fs::write(folder.join("registry.json"), key.jwks()).unwrap();
    for bound in [
        "tls_client_auth_subject_dn = \"CN=Registret,O=Region Exempel\\\\, Vård,C=SE\"\n",
        "tls_client_auth_san_uri = \"urn:example:registret\"\n",
    ] {
        let settings = format!("{TLS}client_ca = \"ca.pem\"\n{}{bound}", registry("system/Procedure.rs"));
        let program = Program::start(&folder, &settings, &[]);
        let ask = async |caller: &Client| asked(caller, &program, &key).await;
        let (first, renewed) = (
            of(&authority, "Registret", "urn:example:registret"),
            of(&authority, "Registret", "urn:example:registret"),
        );
        assert_ne!(first.der, renewed.der);
        let mut tokens = Vec::new();
        for shown in [&first, &renewed] {
            let answer = ask(&authority.caller(Some(shown))).await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{bound}");
            let answer: serde_json::Value = answer.json().await.unwrap();
            tokens.push(answer["access_token"].as_str().unwrap().to_owned());
        }
        let read = async |caller: &Client| read_with(caller, &program, &tokens[0]).await;
        assert_eq!(read(&authority.caller(Some(&renewed))).await.unwrap(), 200, "{bound}");
        let other = of(&authority, "Journalen", "urn:example:journalen");
        assert_eq!(ask(&authority.caller(Some(&other))).await.unwrap().status().as_u16(), 401, "{bound}");
        assert_eq!(read(&authority.caller(Some(&other))).await.unwrap(), 401, "{bound}");
        assert_eq!(read(&authority.caller(None)).await.unwrap(), 401, "{bound}");
        // The same name from somebody else: the connection does not come about.
        let stolen = of(&elsewhere, "Registret", "urn:example:registret");
        assert!(read(&authority.caller(Some(&stolen))).await.is_err(), "{bound}");
        program.stop().await;
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[actix_web::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let (folder, authority) = (folder(), Authority::new());
    put(&folder, &authority.sign());
    let program = Program::start(&folder, &format!("[limits]\nheader_s = 1\n{TLS}"), &[]);
    let address = program.url.trim_start_matches("https://").to_owned();
    let closed = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.read(&mut [0])
    });
    assert!(matches!(closed.await.unwrap(), Ok(0)), "closed by the gateway");
    program.stop().await;
    let _ = std::fs::remove_dir_all(folder);
}
