//! stub
use std::path::Path;
use super::app::App;
use super::terminal::Terminal;
use crate::config::Config;
use crate::error::Error;
pub(crate) fn load(_: &App, _: Option<&Path>, _: &Terminal) -> Result<Config, Error> { unreachable!() }
pub(crate) fn check(_: &App, _: Option<&Path>, _: &Terminal) -> u8 { 2 }
