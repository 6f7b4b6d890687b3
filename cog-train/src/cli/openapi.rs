//! The OpenAPI document of a binary.

use super::app::App;
use crate::input::schema::{self, Api, Side};
use crate::run::Role;

/// The version of Cog whose interface the document follows.
pub(super) const COG_VERSION: &str = "0.22.0";

/// The OpenAPI document of a binary.
pub(super) fn openapi(app: &App) -> serde_json::Value {
    fn side(role: &Role) -> Side<'static> {
        Side { table: role.table, output: (role.output)() }
    }
    schema::document(&Api {
        version: COG_VERSION,
        train: app.trainer.as_ref().map(side),
        predict: app.predictor.as_ref().map(side),
    })
}
