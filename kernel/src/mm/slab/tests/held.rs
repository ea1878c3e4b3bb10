//! What slabs hold for what is asked, in the bench's workloads: a way to try classes, limits and orders in
//! seconds. The bench has the figures; these are bounds that a change for the worse breaks.

use super::*;

/// xorshift64 (Marsaglia 2003), with the seed of the bench's rows.
struct Random(u64);

impl Random {
    const fn new() -> Self {
        Self(88_172_645_463_325_252)
    }

    const fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Log-uniform in 16 to 4,074 bytes.
    fn bytes(&mut self) -> usize {
        let exponent = f64::from(u32::try_from(self.draw() >> 54).unwrap()) / 128.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 4,074"
        )]
        let bytes = (16.0 * exponent.exp2()).round() as usize;
        bytes
    }
}

#[test]
fn a_thousand_objects_hold_less_than_half_as_much_again() {
    with_slab(4096, |slab, _| {
        let mut random = Random::new();
        let mut objects = std::vec![None; 1024];
        for operation in 0..100_000 {
            let drawn = usize::try_from(random.draw() % 1024).unwrap();
            let place = &mut objects[if operation < 1024 { operation } else { drawn }];
            if let Some((object, _)) = place.take() {
                kfree(slab, object);
            }
            let bytes = random.bytes();
            *place = Some((kmalloc(slab, bytes), bytes));
        }
        slab.shrink();
        let asked: usize = objects.iter().flatten().map(|(_, bytes)| bytes).sum();
        let held = usize::try_from(slab.held_bytes()).unwrap();
        assert!(held * 100 <= asked * 146, "{held} bytes held for {asked}");
        for (object, _) in objects.into_iter().flatten() {
            kfree(slab, object);
        }
    });
}

#[test]
fn memory_that_is_filled_is_used_to_nine_tenths() {
    with_slab(4096, |slab, _| {
        let (mut random, mut asked, mut objects) = (Random::new(), 0, Vec::new());
        loop {
            let octave = 16 << (random.draw() % 8);
            let bytes = octave + usize::try_from(random.draw() >> 32).unwrap() % octave;
            match slab.kmalloc(bytes, Gfp::ATOMIC | Gfp::NOWARN) {
                Ok(object) => objects.push(object),
                Err(_) => break,
            }
            asked += bytes;
        }
        assert!(asked * 100 >= (16 << 20) * 89, "{asked} bytes of 16 MiB");
        objects.into_iter().for_each(|object| kfree(slab, object));
    });
}
