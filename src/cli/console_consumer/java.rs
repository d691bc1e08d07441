//! Values as Kafka's Java deserializers read them and as Java prints them.

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("Size of data received by {class} is not {expected}")]
    Size { class: &'static str, expected: usize },
    #[error("Unexpected byte received by BooleanDeserializer")]
    Boolean,
    #[error("'{0}' is not a UUID")]
    Uuid(String),
}

/// The classes of org.apache.kafka.common.serialization that a text can be made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deserializer {
    /// As they are.
    Bytes,
    String,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl Deserializer {
    pub fn of_class(class: &str) -> Option<Self> {
        let name = class.strip_prefix("org.apache.kafka.common.serialization.").unwrap_or(class);
        Some(match name.strip_suffix("Deserializer")? {
            "ByteArray" | "Bytes" | "ByteBuffer" => Deserializer::Bytes,
            "String" => Deserializer::String,
            "Short" => Deserializer::Short,
            "Integer" => Deserializer::Integer,
            "Long" => Deserializer::Long,
            "Float" => Deserializer::Float,
            "Double" => Deserializer::Double,
            "Boolean" => Deserializer::Boolean,
            "UUID" => Deserializer::Uuid,
            _ => return None,
        })
    }

    pub fn text(self, bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
        let text = match self {
            Deserializer::Bytes => return Ok(bytes.to_vec()),
            Deserializer::String => String::from_utf8_lossy(bytes).into_owned(),
            Deserializer::Short => i16::from_be_bytes(sized("ShortDeserializer", bytes)?).to_string(),
            Deserializer::Integer => i32::from_be_bytes(sized("IntegerDeserializer", bytes)?).to_string(),
            Deserializer::Long => i64::from_be_bytes(sized("LongDeserializer", bytes)?).to_string(),
            Deserializer::Float => {
                let number = f32::from_be_bytes(sized("Deserializer", bytes)?);
                decimal(f64::from(number), &format!("{number:?}"), &format!("{number:e}"))
            }
            Deserializer::Double => {
                let number = f64::from_be_bytes(sized("Deserializer", bytes)?);
                decimal(number, &format!("{number:?}"), &format!("{number:e}"))
            }
            Deserializer::Boolean => match sized::<1>("BooleanDeserializer", bytes)? {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                _ => return Err(ValueError::Boolean),
            },
            Deserializer::Uuid => {
                let text = String::from_utf8_lossy(bytes);
                uuid::Uuid::parse_str(&text).map_err(|_| ValueError::Uuid(text.into_owned()))?.to_string()
            }
        };
        Ok(text.into_bytes())
    }
}

fn sized<const N: usize>(class: &'static str, bytes: &[u8]) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::Size { class, expected: N })
}

/// Java writes numbers from a thousandth up to ten millions plainly, others with an exponent and always one decimal.
fn decimal(number: f64, plain: &str, exponential: &str) -> String {
    let size = number.abs();
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else if size == 0.0 || (1e-3..1e7).contains(&size) {
        plain.to_owned()
    } else {
        let (mantissa, exponent) = exponential.split_once('e').unwrap_or((exponential, "0"));
        let point = if mantissa.contains('.') { "" } else { ".0" };
        format!("{mantissa}{point}E{exponent}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(class: &str, bytes: &[u8]) -> Result<String, ValueError> {
        let class = format!("org.apache.kafka.common.serialization.{class}Deserializer");
        Deserializer::of_class(&class).unwrap().text(bytes).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        assert_eq!(text("Long", &7i64.to_be_bytes()).unwrap(), "7");
        assert_eq!(text("Integer", &(-1i32).to_be_bytes()).unwrap(), "-1");
        assert_eq!(text("Short", &[1, 0]).unwrap(), "256");
        for (number, written) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (1e7, "1.0E7"),
            (1.5e-5, "1.5E-5"),
            (-123456.75, "-123456.75"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(text("Double", &number.to_be_bytes()).unwrap(), written);
        }
        assert_eq!(text("Float", &0.1f32.to_be_bytes()).unwrap(), "0.1");
        assert_eq!(text("Boolean", &[1]).unwrap(), "true");
    }

    #[test]
    fn bytes_of_another_size_are_refused() {
        assert_eq!(text("Long", b"null").unwrap_err().to_string(), "Size of data received by LongDeserializer is not 8");
        assert_eq!(text("Boolean", &[2]), Err(ValueError::Boolean));
        assert!(text("UUID", b"x").is_err());
        assert_eq!(text("UUID", b"0000002A-0000-0000-0000-000000000001").unwrap(), "0000002a-0000-0000-0000-000000000001");
        assert_eq!(Deserializer::of_class("com.example.AvroDeserializer"), None);
    }
}
