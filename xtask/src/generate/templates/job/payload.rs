
/// Say here what it does, for whoever enqueues it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Widget {
    //# each
    /// {Its field}.
    SERIALIZED
    pub FIELD: JOB_TYPE,
    //# end
}

impl queue::Job for Widget {
    const NAME: &'static str = "widget";
}
