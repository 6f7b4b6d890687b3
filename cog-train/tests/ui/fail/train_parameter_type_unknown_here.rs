#[cog_train::train]
fn train(address: std::net::IpAddr) -> bool {
    address.is_ipv4()
}

cog_train::run!(train);
