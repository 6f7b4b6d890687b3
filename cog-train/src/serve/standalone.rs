//! `ui`: the page for the runs on a disk, without a server of trainings.

use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::error::ServeError;
use super::listen::{Limits, listen};
use super::routes;
use super::ui::Ui;

/// Only this machine is answered: the page shows what is in files.
const HOST: &str = "127.0.0.1";
const PORT: u16 = 5001;

/// The settings of the page.
pub(crate) struct UiOptions {
    pub(crate) folder: PathBuf,
    /// The port; without one 5001, or a free one where that is taken.
    pub(crate) port: Option<u16>,
}

/// Shows the page until a signal. `listening` receives its address.
///
/// # Errors
///
/// When the address cannot be listened on.
pub(crate) fn show(options: UiOptions, listening: impl FnOnce(&str)) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let ended = runtime.block_on(async {
        let listener = bind(options.port).await?;
        let stop = CancellationToken::new();
        let router = routes::of_page(Ui::of_folder(options.folder), HOST);
        listening(&format!("http://{}/ui", listener.local_addr()?));
        let connections = tokio::spawn(listen(listener, router, Limits::default(), stop.clone()));
        tokio::signal::ctrl_c().await?;
        stop.cancel();
        drop(tokio::time::timeout(std::time::Duration::from_secs(1), connections).await);
        Ok(())
    });
    runtime.shutdown_background();
    ended
}

async fn bind(port: Option<u16>) -> Result<TcpListener, ServeError> {
    let refused =
        |port: u16| move |source| ServeError::Listen { address: format!("{HOST}:{port}"), source };
    if let Some(port) = port {
        return TcpListener::bind((HOST, port)).await.map_err(refused(port));
    }
    match TcpListener::bind((HOST, PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((HOST, 0)).await.map_err(refused(0)),
    }
}
