use super::*;

fn panics(work: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err()
}

#[test]
fn every_way_to_fill_leaves_its_values() {
    let ones = [1.0, 1.0];
    let mut buffer = Buffer::new(17);
    let mut output = buffer.output();
    assert_eq!(output.append_map(&[0.0, 1.0], |a| a + 1.0), [1.0, 2.0]);
    output.append_map2(&[2u8, 3], &[1.0, 1.0, 9.0], |a, b| f32::from(a) + b);
    output.append_map3([&[3.0, 4.0], &ones, &ones], |a, b, c| a + b + c);
    output.append_rows([&[7.0, 8.0], &ones, &ones], |a, b, c| [a, a + b + c]);
    output.append_copy(&[7.0, 7.0])[1] += 1.0;
    output.append_zeros(1)[0] = 5.0;
    assert_eq!(output.zeroed().len(), 17);
    let expected =
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 7.0, 8.0, 5.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(buffer.into_vec(), expected);
}

#[test]
fn two_outputs_are_filled_in_one_loop() {
    let mut buffers = [2, 3].map(Buffer::new);
    let [mut one, mut other] = buffers.each_mut().map(Buffer::output);
    other.append_copy(&[9.0]);
    let inputs: [&[f32]; 3] = [&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0]];
    one.append_rows_to(&mut other, inputs, |a, b, c| [a * b, c]);
    drop((one, other));
    assert_eq!(buffers.map(Buffer::into_vec), [vec![3.0, 8.0], vec![9.0, 5.0, 6.0]]);
}

#[test]
fn parts_are_filled_by_any_thread() {
    let values: Vec<f32> = (0..1000u16).map(f32::from).collect();
    let mut buffer = Buffer::new(1000);
    let parts = buffer.output().par_chunks(64).zip(values.par_chunks(64));
    parts.for_each(|(output, values)| {
        for (mut output, values) in output.chunks(10).zip(values.chunks(10)) {
            output.append_copy(values);
        }
    });
    assert_eq!(buffer.into_vec(), values);
}

/// A result with an element that nobody wrote, written twice or not at all, is never handed out.
#[test]
fn an_element_that_was_left_out_panics() {
    for fill in [
        |_: Output<'_>| (),
        |mut output: Output<'_>| _ = output.append_zeros(3),
        |output: Output<'_>| {
            let mut parts = output.chunks(2);
            parts.next().unwrap().zeroed();
            drop(parts.next());
        },
    ] {
        let mut buffer = Buffer::new(4);
        fill(buffer.output());
        assert!(panics(|| drop(buffer.into_vec())));
    }
    let mut buffer = Buffer::new(4);
    for _ in 0..2 {
        buffer.first(2).zeroed();
    }
    assert!(panics(|| drop(buffer.into_vec())), "the same half twice is not the whole");
}

#[test]
fn an_output_takes_no_more_values_than_it_has_elements_and_no_fewer_than_it_needs() {
    let (two, three): (&[f32], &[f32]) = (&[1.0; 2], &[1.0; 3]);
    let pair = |a: f32, _: f32, _: f32| [a; 2];
    let fails = |fill: &dyn Fn(Output<'_>)| panics(|| fill(Buffer::new(2).output()));
    assert!(fails(&|mut output| _ = output.append_map(three, |a| a)));
    assert!(fails(&|mut output| _ = output.append_map2(two, &two[..1], |a, _| a)));
    assert!(fails(&|mut output| _ = output.append_map3([two, two, &two[..1]], |a, _, _| a)));
    assert!(fails(&|mut output| output.append_rows([two; 3], pair)));
    assert!(fails(&|mut output| output.append_rows([&two[..1], &[], two], pair)));
    assert!(fails(&|mut output| output.append_rows_to(
        &mut Output::over(&mut [0.0]),
        [two; 3],
        pair
    )));
    assert!(fails(&|mut output| _ = output.append_copy(three)));
    assert!(fails(&|mut output| _ = output.append_zeros(3)));
}

#[test]
fn memory_that_was_initialized_is_written_over() {
    let mut elements = [1.0, 2.0, 3.0];
    Output::over(&mut elements).append_copy(&[5.0, 6.0]);
    assert_eq!(elements.as_slice(), [5.0, 6.0, 3.0]);
    let sum = Destination::Overwrite(Output::over(&mut elements)).into_sum();
    sum[0] += 1.0;
    assert_eq!(Destination::Accumulate(&mut elements).into_sum(), [1.0, 0.0, 0.0]);
}
