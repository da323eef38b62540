//! Spans to an OpenTelemetry collector: OTLP over HTTP with protobuf, where to by the standard environment
//! (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`). Without an endpoint nothing is exported.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::TraceContext;

/// Why nothing is exported although it was asked for.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ExportError(#[from] opentelemetry_otlp::ExporterBuildError);

/// What exports; dropping it sends what it still holds.
#[derive(Debug)]
pub struct Export(Option<SdkTracerProvider>);

impl Drop for Export {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(|provider| provider.shutdown()) {
            eprintln!("vardkedja: the last traces were not exported: {error}");
        }
    }
}

/// A layer that exports our spans from `info`, where an endpoint is set.
pub fn layer<S>() -> Result<(Option<impl Layer<S>>, Export), ExportError>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let is_set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    if !is_set("OTEL_EXPORTER_OTLP_ENDPOINT") && !is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Ok((None, Export(None)));
    }
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build()?;
    let mut resource = Resource::builder();
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name("vardkedja");
    }
    let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("vardkedja"))
        .with_location(false)
        .with_filter(Targets::new().with_target("vardkedja", tracing::Level::INFO));
    Ok((Some(layer), Export(Some(provider))))
}

/// Which step of which thread a span is; `None` where it is not exported.
pub fn of(span: &tracing::Span) -> Option<TraceContext> {
    let context = span.context();
    let inner = context.span().span_context().clone();
    inner.is_valid().then(|| TraceContext {
        trace_id: u128::from_be_bytes(inner.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(inner.span_id().to_bytes()),
        flags: inner.trace_flags().to_u8() & 1,
    })
}

/// Puts a span after a step that was taken elsewhere.
pub fn join(span: &tracing::Span, before: TraceContext) -> Option<TraceContext> {
    let remote = SpanContext::new(
        TraceId::from_bytes(before.trace_id.to_be_bytes()),
        SpanId::from_bytes(before.span_id.to_be_bytes()),
        TraceFlags::new(before.flags),
        true,
        TraceState::NONE,
    );
    span.set_parent(Context::new().with_remote_span_context(remote)).ok()?;
    of(span)
}
