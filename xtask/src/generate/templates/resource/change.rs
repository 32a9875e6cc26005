use axum::{Json, extract::State};
use domain::widgets;
//# if timestamp
use time::OffsetDateTime;
//# end
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Widget, PARSERS};
use crate::{
    App,
    body::Body,
    caller::LiveCaller,
    etag::{ETag, IfMatch},
    fields::{Fields, FromFields, READERS},
    path::Path,
    problem::Problem,
};

/// What is to be changed; what is absent stays.
#[derive(ToSchema)]
pub(super) struct WidgetChange {
    //# each
    SCHEMA_OF_CHANGE
    FIELD: Option<RUST_TYPE>,
    //# end
}

impl FromFields for WidgetChange {
    fn read(fields: &mut Fields) -> Option<Self> {
        //# each
        let FIELD = fields.absent_or("FIELD", PARSED);
        //# end
        Some(Self {
            //# each
            FIELD: FIELD?,
            //# end
        })
    }
}

/// Change {a thing}
#[utoipa::path(patch, path = "/v1/widgets/{id}", tag = "{things}", request_body = WidgetChange,
    params(("id" = Uuid, Path, description = "The {thing}."), IfMatch),
    security(("access_token" = [])),
    responses((status = 200, description = "As it is now.", body = Widget)),
)]
pub(super) async fn change(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path(id): Path<Uuid>,
    IfMatch(versions): IfMatch,
    Body(sent): Body<WidgetChange>,
) -> Result<(ETag, Json<Widget>), Problem> {
    let change = widgets::WidgetChange {
        //# each
        FIELD: sent.FIELD,
        //# end
    };
    let versions = versions.as_deref();
    let changed = widgets::change(&app.pool, caller.account_id, id, versions, &change).await?;
    Ok((ETag(changed.version), Json(changed.into())))
}
