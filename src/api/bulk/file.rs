//! A file of an export, whole or a part of it: on record before it leaves, read piece by piece while it does.

use std::fs::File;
use std::io::{self, Read as _, Seek, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderName, IF_NONE_MATCH,
    IF_RANGE, RANGE, VARY,
};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::task::JoinHandle;

use super::super::caller::Call;
use super::super::limits::Connection;
use super::super::problem::{Answer, Problem};
use super::export_id;
use crate::fhir::issue::{Code, Issue};
use crate::registry::standing;
use crate::sync::refusal::missing;

/// What is read and sent at a time.
const PIECE: u64 = 128 * 1024;
const NDJSON: &str = "application/fhir+ndjson";

/// `GET /bulk/files/{job}/{file}`
pub async fn file(call: Call, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let (id, name) = path.into_inner();
    let id = export_id(&id)?;
    let standing::Sendable { path, file } = standing::file(&call.gateway, &call.caller, id, &name, call.now).await?;
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let range = header(RANGE);
    let tag = format!("\"{}\"", file.sha256.as_deref().unwrap_or_default());
    // What is packed on the way is another representation of the same.
    let is_packed = range.is_none() && header(ACCEPT_ENCODING).is_some_and(|accept| accept.contains("gzip"));
    let shown_tag = if is_packed { format!("W/{tag}") } else { tag.clone() };
    let known = header(IF_NONE_MATCH).unwrap_or_default();
    if known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*") {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, shown_tag)).finish());
    }
    let range = range.filter(|_| header(IF_RANGE).is_none_or(|only_if| only_if == tag));
    let part = match range.map(|text| part(text, file.bytes)) {
        None | Some(Part::Whole) => None,
        Some(Part::Some { first, last }) => Some((first, last)),
        Some(Part::Nothing) => return Ok(not_satisfiable(file.bytes)),
    };
    let (first, length) = part.map_or((0, file.bytes), |(first, last)| (first, last - first + 1));
    let opened = web::block(move || open(path, first)).await?;
    // The files of an export that came back from a copy of the database are not there.
    let opened = opened.map_err(|_| missing("file"))?;
    standing::disclose(&call.gateway, &call.caller, id, &file, (first, length), call.now).await?;
    let mut response = HttpResponse::build(if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    response
        .content_type(NDJSON)
        .insert_header((ETAG, shown_tag))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CACHE_CONTROL, "private, no-cache"))
        .insert_header((VARY, "Accept-Encoding"));
    if let Some((first, last)) = part {
        // A part of the file is bytes of the file, never of something packed.
        response
            .insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{}", file.bytes)))
            .insert_header((CONTENT_ENCODING, "identity"));
    }
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    Ok(response.body(Piecewise { file: Some(opened), left: length, length, reading: None, connection }))
}

fn open(path: PathBuf, first: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(first))?;
    Ok(file)
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// It is not understood, or asks for several parts: then the whole is the answer (RFC 9110, 14.2).
    Whole,
    Some {
        first: u64,
        last: u64,
    },
    Nothing,
}

fn part(text: &str, bytes: u64) -> Part {
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let is_none = |text: &str| text.trim().is_empty();
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), Some(_)) if first >= bytes => Part::Nothing,
        (Some(first), Some(last)) => Part::Some { first, last: last.min(bytes - 1) },
        (Some(first), None) if is_none(last) && first >= bytes => Part::Nothing,
        (Some(first), None) if is_none(last) => Part::Some { first, last: bytes - 1 },
        (None, Some(0)) if is_none(first) => Part::Nothing,
        (None, Some(_)) if is_none(first) && bytes == 0 => Part::Nothing,
        (None, Some(tail)) if is_none(first) => Part::Some { first: bytes.saturating_sub(tail), last: bytes - 1 },
        _ => Part::Whole,
    }
}

fn not_satisfiable(bytes: u64) -> HttpResponse {
    let problem = Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        Issue::error(
            Code::Value,
            "Range",
            format!("Filen har {bytes} byte; delen ligger utanför."),
            format!("The file has {bytes} bytes; the range is outside."),
        ),
    );
    let mut response = actix_web::ResponseError::error_response(&problem);
    if let Ok(value) = format!("bytes */{bytes}").parse() {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// A piece, and the file that the next is read from.
type Read = io::Result<(File, Vec<u8>)>;

/// The bytes of a file, read when those before have been taken.
struct Piecewise {
    file: Option<File>,
    left: u64,
    length: u64,
    reading: Option<JoinHandle<Read>>,
    connection: Option<Arc<Connection>>,
}

impl MessageBody for Piecewise {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.left == 0 && self.reading.is_none() {
            return Poll::Ready(None);
        }
        if let Some(file) = self.file.take() {
            let wanted = self.left.min(PIECE);
            self.reading = Some(tokio::task::spawn_blocking(move || piece(file, wanted)));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let (file, bytes) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Poll::Ready(Some(Err(error))),
            Err(_) => return Poll::Ready(Some(Err(io::Error::other("a thread ended")))),
        };
        self.left -= (bytes.len() as u64).min(self.left);
        self.file = (self.left > 0).then_some(file);
        // Whoever takes what is sent is not late, however long the file is.
        if let Some(connection) = &self.connection {
            connection.goes_on();
        }
        Poll::Ready(Some(Ok(Bytes::from(bytes))))
    }
}

fn piece(mut file: File, wanted: u64) -> Read {
    let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
    (&mut file).take(wanted).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == wanted { Ok((file, bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_rfc_9110_says_it_is() {
        let some = |first, last| Part::Some { first, last };
        for (text, wanted) in [
            ("bytes=0-0", some(0, 0)),
            ("bytes=5-", some(5, 9)),
            ("bytes=5-100", some(5, 9)),
            ("bytes=-3", some(7, 9)),
            ("bytes=-100", some(0, 9)),
            ("bytes=10-", Part::Nothing),
            ("bytes=10-11", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=99999999999999999999-", Part::Whole),
        ] {
            assert_eq!(part(text, 10), wanted, "{text}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Nothing);
        assert_eq!(part("bytes=-1", 0), Part::Nothing);
    }
}
