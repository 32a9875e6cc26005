mod show;

pub(super) use self::show::show;
