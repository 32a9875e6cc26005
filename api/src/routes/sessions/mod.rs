mod create;

pub(super) use self::create::create;
