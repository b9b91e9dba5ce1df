//! Tests of streaming files up and down.

use super::*;
use crate::matrix::homeserver_double::{Double, fault, fine};
use serde_json::json;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

const BOT: &str = "@whatsappbot:test.local";
const CONFIG: &str = "v1/media/config";
const PUT: &str = "/_matrix/media/v3/upload/test.local/abc";
const GET: &str = "v1/media/download/test.local/abc";
const PROBE: &str = "v3/devices/WABRIDGE";

fn mxc() -> OwnedMxcUri {
    "mxc://test.local/abc".into()
}

fn spool() -> (tempfile::TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 8 << 20, 4 << 20).unwrap();
    (folder, spool)
}

fn file(spool: &Spool, bytes: &[u8]) -> SpoolFile {
    let mut writer = spool.begin_now(0, 1 << 20).unwrap();
    writer.add(bytes).unwrap();
    writer.finish().unwrap()
}

async fn on_put(double: &Double, answer: ResponseTemplate) {
    let put = Mock::given(method("PUT")).and(path(PUT)).and(query_param("user_id", BOT));
    put.and(header("authorization", "Bearer as-secret")).respond_with(answer).expect(1).mount(&double.server).await;
}

#[tokio::test]
async fn a_file_of_the_spool_fills_the_reserved_name() {
    let double = Double::start().await;
    double.as_user("GET", CONFIG, BOT, fine(json!({ "m.upload.size": 300_000 })), 1).await;
    on_put(&double, fine(json!({}))).await;
    let matrix = double.matrix().await;
    let (_folder, spool) = spool();
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    matrix.put_file(matrix.bot(), &mxc(), &file(&spool, &bytes), "video/mp4", Some("a b.mp4")).await.unwrap();
    let requests = double.server.received_requests().await.unwrap();
    let request = requests.iter().find(|request| request.url.path() == PUT).unwrap();
    assert!(request.body == bytes);
    assert_eq!(request.headers["content-length"], "200000");
    assert_eq!(request.headers["content-type"], "video/mp4");
    assert!(request.url.query_pairs().any(|(name, value)| name == "filename" && value == "a b.mp4"));
    let big = matrix.put_file(matrix.bot(), &mxc(), &file(&spool, &[0; 300_001]), "video/mp4", None).await;
    assert_eq!(big, Err(MatrixError::TooLarge), "not a byte of it is sent");
}

#[tokio::test]
async fn a_name_that_is_filled_already_is_done() {
    let double = Double::start().await;
    double.as_user("GET", CONFIG, BOT, fine(json!({})), 1).await;
    on_put(&double, fault(409, "M_CANNOT_OVERWRITE_MEDIA")).await;
    let matrix = double.matrix().await;
    let (_folder, spool) = spool();
    matrix.put_file(matrix.bot(), &mxc(), &file(&spool, b"again"), "text/plain", None).await.unwrap();
}

#[tokio::test]
async fn a_file_comes_into_the_spool_and_only_within_its_limit() {
    let double = Double::start().await;
    let bytes = vec![5; 100_000];
    double.as_user("GET", GET, BOT, ResponseTemplate::new(200).set_body_bytes(bytes.clone()), 2).await;
    let matrix = double.matrix().await;
    let (_folder, spool) = spool();
    let fetched = matrix.fetch_file(&mxc(), None, &spool, Some(3), 1 << 20).await.unwrap();
    assert!(fetched.read(1 << 20).unwrap() == bytes);
    let small = matrix.fetch_file(&mxc(), None, &spool, Some(3), 99_999).await;
    assert!(matches!(small, Err(FetchFailure::Spool(SpoolError::TooLarge { limit: 99_999 }))));
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let endless = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n").await.unwrap();
        // Until the bridge hangs up.
        let mut sent = 0u64;
        while stream.write_all(&[1; 65536]).await.is_ok() {
            sent += 65536;
        }
        sent
    });
    let (matrix, _store) = crate::matrix::homeserver_double::matrix_at(&address).await;
    let (_folder, spool) = spool();
    let fetched = matrix.fetch_file(&mxc(), None, &spool, None, 1 << 20).await;
    assert!(matches!(fetched, Err(FetchFailure::Spool(SpoolError::TooLarge { .. }))), "{fetched:?}");
    assert!(endless.await.unwrap() < 64 << 20);
}

#[tokio::test]
async fn an_encrypted_file_is_opened_and_a_changed_one_refused() {
    let double = Double::start().await;
    let sealed = b"555349e213c16356b7c0b192e2bb48d2";
    let sealed: Vec<u8> =
        sealed.chunks(2).map(|hex| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap()).collect();
    double.as_user("GET", GET, BOT, ResponseTemplate::new(200).set_body_bytes(sealed.clone()), 2).await;
    let matrix = double.matrix().await;
    let (_folder, spool) = spool();
    // The key of `media::unseal`'s known file; hash of its first 16 bytes by `sha256sum`.
    let object = |hash: &str| {
        json!({ "v": "v2", "key": { "alg": "A256CTR", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" },
                "iv": "AQIDBAUGBwgAAAAAAAAAAA", "hashes": { "sha256": hash } })
    };
    let right = Unsealer::new(&object(HASH)).unwrap();
    let fetched = matrix.fetch_file(&mxc(), Some(right), &spool, None, 1 << 20).await.unwrap();
    assert_eq!(fetched.read(100).unwrap(), b"0123456789abcdef");
    let wrong = Unsealer::new(&object("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")).unwrap();
    let fetched = matrix.fetch_file(&mxc(), Some(wrong), &spool, None, 1 << 20).await;
    assert!(matches!(fetched, Err(FetchFailure::Damaged)));
}

const HASH: &str = "w0ECS7FIWAAI5gx+ur8r1HBrLfohcFN4yGCNU3SZLL0";

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let double = Double::start().await;
    let elsewhere = ResponseTemplate::new(307).insert_header("location", format!("{}/secret", double.server.uri()));
    double.as_user("GET", GET, BOT, elsewhere, 1).await;
    let matrix = double.matrix().await;
    let (_folder, spool) = spool();
    let fetched = matrix.fetch_file(&mxc(), None, &spool, None, 1 << 20).await;
    assert!(matches!(fetched, Err(FetchFailure::Matrix(MatrixError::Refused { status: 307, .. }))), "{fetched:?}");
    assert!(!double.counts().await.contains_key("GET /secret"));
}

#[tokio::test]
async fn what_is_no_name_is_not_asked_for() {
    let double = Double::start().await;
    let matrix = double.matrix().await;
    let (_folder, spool) = spool();
    for bad in ["https://evil.example/x", "mxc://", "mxc://test.local/", "mxc://test.local/../../x", "mxc://a/b?c"] {
        let fetched = matrix.fetch_file(bad.into(), None, &spool, None, 1 << 20).await;
        assert!(matches!(fetched, Err(FetchFailure::Damaged)), "{bad}");
    }
    assert!(double.counts().await.is_empty());
}

#[tokio::test]
async fn a_transfer_that_breaks_is_the_files_trouble_only_while_the_homeserver_is_well() {
    for (probe, away) in [(fault(404, "M_NOT_FOUND"), false), (ResponseTemplate::new(502), true)] {
        let double = Double::start().await;
        double.as_user("GET", GET, BOT, ResponseTemplate::new(502), 1).await;
        double.on("GET", PROBE).respond_with(probe).expect(1).mount(&double.server).await;
        let matrix = double.matrix().await;
        let (_folder, spool) = spool();
        let fetched = matrix.fetch_file(&mxc(), None, &spool, None, 1 << 20).await;
        let Err(FetchFailure::Matrix(error)) = fetched else { panic!("{fetched:?}") };
        assert_eq!(matches!(error, MatrixError::Unreachable { .. }), away, "{error:?}");
        assert_eq!(matrix.is_reachable(), !away);
    }
}
