//! Texts from people, other nodes and the disk.

use p2pnet_node::{NodeOptions, Settings, config::DataFolder, discovery::PeerAddress, start};
use proptest::{option, prelude::*};

use crate::{
    hostile::{self, harm::harmed, harm::harmed_text, memory::peak},
    support::settings,
};

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("http://node7:5000".to_owned()),
        Just("HTTP://[fe80::1]:65535/".to_owned()),
        Just(" 10.0.0.7:6000 ".to_owned()),
        Just("http://a:1,http://b:2, ,c".to_owned()),
    ]
}

fn setting() -> impl Strategy<Value = Option<String>> {
    option::of(harmed_text(prop_oneof![
        address().boxed(),
        Just("node7".to_owned()).boxed(),
        Just("0.0.0.0".to_owned()).boxed(),
        Just("5000".to_owned()).boxed(),
        Just("s3cret".to_owned()).boxed(),
    ]))
}

proptest! {
    #![proptest_config(hostile::config(512))]

    #[test]
    fn an_address_that_was_hurt(text in harmed_text(address())) {
        let (parsed, held) = peak(|| text.parse::<PeerAddress>());
        prop_assert!(held <= 2_048, "{} bytes held for {}", held, text.len());
        match parsed {
            Ok(address) => {
                prop_assert_eq!(address.to_string().parse::<PeerAddress>().ok(), Some(address.clone()));
                prop_assert!(address.port() != 0 && !address.host().is_empty());
                prop_assert!(address.literal().is_none_or(|addr| addr.port() == address.port()));
            }
            Err(error) => prop_assert!(error.to_string().chars().count() < 200),
        }
    }

    #[test]
    fn settings_that_were_hurt(
        (name, port, bind) in (setting(), setting(), setting()),
        (bootstrap, peers, network) in (setting(), setting(), setting()),
        (secret, gateway, push) in (setting(), setting(), setting()),
        (vnodes, lan, egress) in (setting(), setting(), setting()),
    ) {
        let given =
            [&name, &port, &bind, &bootstrap, &peers, &network, &secret, &gateway, &push, &vnodes, &lan, &egress];
        let length: usize = given.iter().filter_map(|text| text.as_ref()).map(String::len).sum();
        let (data, sync) = (None, None);
        let options = NodeOptions {
            name, port, bind, bootstrap, peers, network, data, sync, egress, secret, push, gateway, vnodes, lan,
        };
        let (checked, held) = peak(|| Settings::try_from(options));
        prop_assert!(held <= 64 * length + 16 * 1_024, "{} bytes held for {}", held, length);
        match checked {
            Ok(settings) => prop_assert!(settings.secret.is_none_or(|secret| !secret.is_empty())),
            Err(error) => prop_assert!(!error.hint().is_empty() && error.to_string().starts_with("--")),
        }
    }
}

proptest! {
    #![proptest_config(hostile::config(32))]

    /// Whatever the disk holds, a node starts as who it was, or says what is wrong and leaves the file alone.
    #[test]
    fn an_identity_on_disk_that_was_hurt(
        file in harmed(Just(br#"{"id":"0158ac06-9527-4294-9d12-4e79b7295410","epoch":1795273051298}"#.to_vec())),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("identity.json");
        std::fs::write(&path, &file).expect("written");
        let mut settings = settings("hurt-identity", "node7");
        settings.data = DataFolder::Required(folder.path().to_owned());
        match runtime.block_on(start(settings)) {
            Ok(node) => {
                let kept = std::fs::read_to_string(&path).expect("an identity again");
                prop_assert!(kept.contains(&node.id.to_string()));
            }
            Err(error) => {
                prop_assert!(error.to_string().contains("identity"), "{}", error);
                prop_assert_eq!(std::fs::read(&path).expect("still there"), file);
            }
        }
    }
}
