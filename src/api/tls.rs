//! TLS: our certificate, those of callers, and their change while the gateway serves. Connections that are open stay; new ones
//! get what is in force.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use crate::access::Certificate;
use crate::config::Tls;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::HttpRequest;
use actix_web::rt::net::TcpStream;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} cannot be read as PEM")]
    Pem {
        path: String,
        #[source]
        source: pem::Error,
    },
    #[error("{0} has no certificate in it")]
    Empty(String),
    #[error("the certificate and the key do not belong together, or are of a kind that is not known")]
    Pair(#[source] rustls::Error),
    #[error("who signs callers' certificates cannot be used")]
    Callers(#[source] VerifierBuilderError),
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The certificate that the caller has shown in this connection.
#[derive(Debug, Clone)]
pub struct Shown(Certificate);

/// The caller's certificate; none without TLS or where it has shown none.
pub fn shown_certificate(request: &HttpRequest) -> Option<&Certificate> {
    request.conn_data::<Shown>().map(|shown| &shown.0)
}

/// The socket below TLS, and the certificate that was shown in it.
pub fn below(stream: &TlsStream<TcpStream>) -> (&TcpStream, Option<Shown>) {
    let (socket, session) = stream.get_ref();
    let first = session.peer_certificates().and_then(|chain| chain.first());
    (socket, first.map(|certificate| Shown(Certificate::read(certificate))))
}

/// What is in force now.
#[derive(Debug)]
pub struct Certificates {
    settings: Tls,
    provider: Arc<CryptoProvider>,
    own: RwLock<Arc<CertifiedKey>>,
    callers: RwLock<Option<Arc<dyn ClientCertVerifier>>>,
}

impl Certificates {
    pub fn open(settings: &Tls) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (own, callers) = load(settings, &provider)?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            provider,
            own: RwLock::new(own),
            callers: RwLock::new(callers),
        }))
    }

    /// Reads all files again. What is broken leaves everything as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let (own, callers) = load(&self.settings, &self.provider)?;
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        *self.callers.write().unwrap_or_else(PoisonError::into_inner) = callers;
        Ok(())
    }

    /// For the server: every handshake asks what is in force.
    pub fn server(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        if self.settings.client_ca.is_none() {
            return Ok(builder.with_no_client_auth().with_cert_resolver(Arc::new(Own(Arc::clone(self)))));
        }
        let verifier = Arc::new(Callers(Arc::clone(self)));
        let mut config =
            builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(Own(Arc::clone(self))));
        // A session that is taken up again is not verified again, whoever signs now.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

type Loaded = (Arc<CertifiedKey>, Option<Arc<dyn ClientCertVerifier>>);

fn load(settings: &Tls, provider: &Arc<CryptoProvider>) -> Result<Loaded, TlsError> {
    let chain = certificates(&settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(failed(&settings.key))?;
    let own = CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)?;
    own.keys_match().map_err(TlsError::Pair)?;
    let callers = settings.client_ca.as_deref().map(|path| callers(settings, path, provider)).transpose()?;
    Ok((Arc::new(own), callers))
}

fn callers(
    settings: &Tls,
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(TlsError::Pair)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if settings.require_client_certificate { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(TlsError::Callers)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).map_err(failed(path))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(failed(path))?;
    if all.is_empty() { Err(TlsError::Empty(path.display().to_string())) } else { Ok(all) }
}

fn failed(path: &Path) -> impl Fn(pem::Error) -> TlsError {
    |source| TlsError::Pem { path: path.display().to_string(), source }
}

#[derive(Debug)]
struct Own(Arc<Certificates>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.own.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Hands every question on to the verifier that is in force.
#[derive(Debug)]
struct Callers(Arc<Certificates>);

impl Callers {
    fn in_force(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        let callers = self.0.callers.read().unwrap_or_else(PoisonError::into_inner);
        callers.clone().ok_or_else(|| rustls::Error::General("nobody signs callers' certificates".into()))
    }
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        self.0.settings.require_client_certificate
    }

    /// None are named: a caller with several certificates chooses by its own settings.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.in_force()?.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.in_force()?.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.in_force()?.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.in_force().map_or(Vec::new(), |verifier| verifier.supported_verify_schemes())
    }
}
