//! Enums whose variants are words of the status.

/// An enum with its names as they stand in a manifest, and the list of all its values.
macro_rules! names {
    ($(#[$about:meta])* pub enum $enum:ident { $($(#[$meaning:meta])* $variant:ident,)+ }) => {
        $(#[$about])*
        pub enum $enum { $($(#[$meaning])* $variant,)+ }

        impl $enum {
            /// Every value, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name as it stands in the status.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }
        }
    };
}

pub(crate) use names;
