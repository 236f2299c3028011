//! Macros: calls that stand for presence tests and loops.
//!
//! Worked example: `xs.all(x, x > 0)` becomes a loop over `xs` whose accumulator begins as true, goes on while it is not
//! false, and at each step becomes `accumulator && x > 0`.

use std::sync::Arc;

use super::{Abort, Parsed, Parser, call};
use crate::ast::{ACCUMULATOR, Comprehension, Entry, Expr, FieldInit, Kind, Literal, NodeId, UNUSED};

/// The older name of the accumulator, still refused as a variable.
const ACCUMULATOR_OLD: &str = "__result__";
const SORT_INPUT: &str = "@__sortBy_input__";

/// What is wrong with a macro's argument.
struct Misuse(NodeId, String);

enum Failed {
    Misuse(Misuse),
    Abort(Abort),
}

impl From<Abort> for Failed {
    fn from(abort: Abort) -> Self {
        Failed::Abort(abort)
    }
}

type Expanded = Result<Expr, Failed>;

impl Parser<'_> {
    pub(super) fn call_or_macro(
        &mut self,
        id: NodeId,
        function: &Arc<str>,
        target: Option<Expr>,
        args: Vec<Expr>,
    ) -> Parsed {
        let expanded = match target {
            None if &**function == "has" && args.len() == 1 => self.has(id, args),
            Some(target) if is_macro(function, args.len(), &target) => self.expand(id, function, target, args),
            Some(target) if self.binds && &**function == "bind" && args.len() == 3 && is_namespace(&target) => {
                Builder { place: self.places[id as usize], parser: self }.bind(args)
            }
            target => {
                let target = target.map(Box::new);
                return Ok(Expr::new(id, Kind::Call { function: function.clone(), target, args }));
            }
        };
        match expanded {
            Ok(expanded) => Ok(expanded),
            Err(Failed::Abort(abort)) => Err(abort),
            Err(Failed::Misuse(Misuse(at, message))) => {
                self.report_at(at, message);
                Ok(Expr::new(id, Kind::Error))
            }
        }
    }

    fn has(&mut self, id: NodeId, mut args: Vec<Expr>) -> Expanded {
        let at = args[0].id;
        match args.remove(0).kind {
            Kind::Select { operand, field, .. } => Ok(Expr::new(id, Kind::Select { operand, field, test_only: true })),
            _ => misuse(at, "invalid argument to has() macro"),
        }
    }

    fn expand(&mut self, id: NodeId, function: &str, target: Expr, args: Vec<Expr>) -> Expanded {
        let mut build = Builder { place: self.places[id as usize], parser: self };
        match (function, args.len()) {
            ("all" | "exists" | "exists_one" | "existsOne", 2) => {
                let variable = simple_name(&args[0], "argument must be a simple name")?;
                build.quantifier(function, target, (variable, None), args)
            }
            ("all" | "exists" | "exists_one" | "existsOne", _) => {
                let variables = two_names(&args)?;
                build.quantifier(function, target, variables, args)
            }
            ("map", _) => build.map(target, args),
            ("filter", _) => build.filter(target, args),
            ("transformList", _) => build.transform_list(target, args),
            ("transformMap", _) => build.transform_map(target, args, true),
            ("transformMapEntry", _) => build.transform_map(target, args, false),
            ("optMap", _) => build.opt_map(target, args, true),
            ("optFlatMap", _) => build.opt_map(target, args, false),
            _ => build.sort_by(target, args),
        }
    }
}

fn is_namespace(target: &Expr) -> bool {
    matches!(&target.kind, Kind::Ident(name) if &**name == "cel")
}

fn is_macro(function: &str, arguments: usize, target: &Expr) -> bool {
    match function {
        "all" | "exists" | "exists_one" | "existsOne" | "map" => matches!(arguments, 2 | 3),
        "filter" | "optMap" | "optFlatMap" => arguments == 2,
        "sortBy" => arguments == 2 && !matches!(target.kind, Kind::Error),
        "transformList" | "transformMap" | "transformMapEntry" => matches!(arguments, 3 | 4),
        _ => false,
    }
}

fn misuse<T>(id: NodeId, message: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::Misuse(Misuse(id, message.into())))
}

fn simple_name(arg: &Expr, message: &str) -> Result<Arc<str>, Failed> {
    let Kind::Ident(name) = &arg.kind else { return misuse(arg.id, message) };
    if [ACCUMULATOR, ACCUMULATOR_OLD].contains(&&**name) {
        return misuse(arg.id, "iteration variable overwrites accumulator variable");
    }
    Ok(name.clone())
}

fn two_names(args: &[Expr]) -> Result<(Arc<str>, Option<Arc<str>>), Failed> {
    let first = simple_name(&args[0], "argument must be a simple name")?;
    let second = simple_name(&args[1], "argument must be a simple name")?;
    if first == second {
        return misuse(args[1].id, format!("duplicate variable name: {first}"));
    }
    Ok((first, Some(second)))
}

/// Makes the nodes that a macro stands for, all at the macro's place.
struct Builder<'p, 's> {
    parser: &'p mut Parser<'s>,
    place: (u32, u32),
}

impl Builder<'_, '_> {
    fn node(&mut self, kind: Kind) -> Expanded {
        Ok(Expr::new(self.parser.id_at(self.place)?, kind))
    }

    fn literal(&mut self, literal: Literal) -> Expanded {
        self.node(Kind::Literal(literal))
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expanded {
        Ok(call(self.parser.id_at(self.place)?, function, args))
    }

    fn member_call(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expanded {
        self.node(Kind::Call { function: function.into(), target: Some(Box::new(target)), args })
    }

    fn ident(&mut self, name: &str) -> Expanded {
        self.node(Kind::Ident(name.into()))
    }

    fn accumulator(&mut self) -> Expanded {
        self.ident(ACCUMULATOR)
    }

    fn list(&mut self, elements: Vec<Expr>) -> Expanded {
        let optional = vec![false; elements.len()];
        self.node(Kind::List { elements, optional })
    }

    #[expect(clippy::too_many_arguments, reason = "a loop has these parts")]
    fn fold(
        &mut self,
        range: Expr,
        variables: (Arc<str>, Option<Arc<str>>),
        accumulator: &str,
        init: Expr,
        condition: Expr,
        step: Expr,
        result: Expr,
    ) -> Expanded {
        let (variable, second) = variables;
        let accumulator = accumulator.into();
        self.node(Kind::Comprehension(Box::new(Comprehension {
            range,
            variable,
            second,
            accumulator,
            init,
            condition,
            step,
            result,
        })))
    }

    fn quantifier(
        &mut self,
        function: &str,
        range: Expr,
        variables: (Arc<str>, Option<Arc<str>>),
        mut args: Vec<Expr>,
    ) -> Expanded {
        let Some(predicate) = args.pop() else { return self.node(Kind::Error) };
        let (init, condition, step, result);
        match function {
            "all" => {
                init = self.literal(Literal::Bool(true))?;
                let accumulator = self.accumulator()?;
                condition = self.call("@not_strictly_false", vec![accumulator])?;
                let accumulator = self.accumulator()?;
                step = self.call("_&&_", vec![accumulator, predicate])?;
                result = self.accumulator()?;
            }
            "exists" => {
                init = self.literal(Literal::Bool(false))?;
                let accumulator = self.accumulator()?;
                let not = self.call("!_", vec![accumulator])?;
                condition = self.call("@not_strictly_false", vec![not])?;
                let accumulator = self.accumulator()?;
                step = self.call("_||_", vec![accumulator, predicate])?;
                result = self.accumulator()?;
            }
            _ => {
                init = self.literal(Literal::Int(0))?;
                condition = self.literal(Literal::Bool(true))?;
                let (accumulator, one) = (self.accumulator()?, self.literal(Literal::Int(1))?);
                let more = self.call("_+_", vec![accumulator, one])?;
                let same = self.accumulator()?;
                step = self.call("_?_:_", vec![predicate, more, same])?;
                let (accumulator, one) = (self.accumulator()?, self.literal(Literal::Int(1))?);
                result = self.call("_==_", vec![accumulator, one])?;
            }
        }
        self.fold(range, variables, ACCUMULATOR, init, condition, step, result)
    }

    /// A loop that collects: a step for each item, or for each that a filter takes.
    fn collect(
        &mut self,
        range: Expr,
        variables: (Arc<str>, Option<Arc<str>>),
        init: Expr,
        filter: Option<Expr>,
        mut step: Expr,
    ) -> Expanded {
        let condition = self.literal(Literal::Bool(true))?;
        if let Some(filter) = filter {
            let same = self.accumulator()?;
            step = self.call("_?_:_", vec![filter, step, same])?;
        }
        let result = self.accumulator()?;
        self.fold(range, variables, ACCUMULATOR, init, condition, step, result)
    }

    fn append(&mut self, element: Expr) -> Expanded {
        let accumulator = self.accumulator()?;
        let list = self.list(vec![element])?;
        self.call("_+_", vec![accumulator, list])
    }

    fn map(&mut self, range: Expr, mut args: Vec<Expr>) -> Expanded {
        let variable = simple_name(&args[0], "argument is not an identifier")?;
        let Some(transform) = args.pop() else { return self.node(Kind::Error) };
        let filter = if args.len() == 2 { args.pop() } else { None };
        let init = self.list(Vec::new())?;
        let step = self.append(transform)?;
        self.collect(range, (variable, None), init, filter, step)
    }

    fn filter(&mut self, range: Expr, mut args: Vec<Expr>) -> Expanded {
        let variable = simple_name(&args[0], "argument is not an identifier")?;
        let filter = args.pop();
        let Some(item) = args.pop() else { return self.node(Kind::Error) };
        let init = self.list(Vec::new())?;
        let step = self.append(item)?;
        self.collect(range, (variable, None), init, filter, step)
    }

    fn transform_list(&mut self, range: Expr, mut args: Vec<Expr>) -> Expanded {
        let variables = two_names(&args)?;
        let Some(transform) = args.pop() else { return self.node(Kind::Error) };
        let filter = if args.len() == 3 { args.pop() } else { None };
        let init = self.list(Vec::new())?;
        let step = self.append(transform)?;
        self.collect(range, variables, init, filter, step)
    }

    fn transform_map(&mut self, range: Expr, mut args: Vec<Expr>, keeps_key: bool) -> Expanded {
        let variables = two_names(&args)?;
        let Some(transform) = args.pop() else { return self.node(Kind::Error) };
        let filter = if args.len() == 3 { args.pop() } else { None };
        let init = self.node(Kind::Map(Vec::new()))?;
        let accumulator = self.accumulator()?;
        let mut insert = vec![accumulator];
        if keeps_key {
            insert.push(self.ident(&variables.0)?);
        }
        insert.push(transform);
        let step = self.call("cel.@mapInsert", insert)?;
        self.collect(range, variables, init, filter, step)
    }

    /// Names the value that an optional holds, if it holds one, in an expression.
    fn opt_map(&mut self, target: Expr, mut args: Vec<Expr>, wraps: bool) -> Expanded {
        let name = if wraps { "optMap" } else { "optFlatMap" };
        let Kind::Ident(variable) = &args[0].kind else {
            return misuse(args[0].id, format!("{name}() variable name must be a simple identifier"));
        };
        let variable = variable.clone();
        let Some(transform) = args.pop() else { return self.node(Kind::Error) };
        let copy = self.copy(&target)?;
        let has_value = self.member_call("hasValue", target, Vec::new())?;
        let range = self.list(Vec::new())?;
        let init = self.member_call("value", copy, Vec::new())?;
        let condition = self.literal(Literal::Bool(false))?;
        let step = self.ident(&variable)?;
        let mut bound = self.fold(range, (UNUSED.into(), None), &variable, init, condition, step, transform)?;
        if wraps {
            bound = self.call("optional.of", vec![bound])?;
        }
        let none = self.call("optional.none", Vec::new())?;
        self.call("_?_:_", vec![has_value, bound, none])
    }

    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Expanded {
        if matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. }) {
            let message = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return misuse(target.id, message);
        }
        let input = self.ident(SORT_INPUT)?;
        let keys = self.map(input, args)?;
        let input = self.ident(SORT_INPUT)?;
        let sorted = self.member_call("@sortByAssociatedKeys", input, vec![keys])?;
        let range = self.list(Vec::new())?;
        let condition = self.literal(Literal::Bool(false))?;
        let step = self.ident(SORT_INPUT)?;
        self.fold(range, (UNUSED.into(), None), SORT_INPUT, target, condition, step, sorted)
    }

    /// `cel.bind(name, value, result)`: the result, in which the name stands for the value.
    fn bind(&mut self, args: Vec<Expr>) -> Expanded {
        let Ok([name, value, result]) = <[Expr; 3]>::try_from(args) else {
            return self.node(Kind::Error);
        };
        let Kind::Ident(variable) = &name.kind else {
            return misuse(name.id, "cel.bind() variable names must be simple identifiers");
        };
        let range = self.list(Vec::new())?;
        let condition = self.literal(Literal::Bool(false))?;
        let step = self.ident(variable)?;
        self.fold(range, (UNUSED.into(), None), variable, value, condition, step, result)
    }

    fn copies(&mut self, of: &[Expr]) -> Result<Vec<Expr>, Failed> {
        of.iter().map(|expr| self.copy(expr)).collect()
    }

    fn copy(&mut self, of: &Expr) -> Expanded {
        let kind = match &of.kind {
            Kind::Error => Kind::Error,
            Kind::Literal(literal) => Kind::Literal(literal.clone()),
            Kind::Ident(name) => Kind::Ident(name.clone()),
            Kind::Select { operand, field, test_only } => {
                Kind::Select { operand: Box::new(self.copy(operand)?), field: field.clone(), test_only: *test_only }
            }
            Kind::Call { function, target, args } => Kind::Call {
                function: function.clone(),
                target: target.as_ref().map(|target| self.copy(target)).transpose()?.map(Box::new),
                args: self.copies(args)?,
            },
            Kind::List { elements, optional } => {
                Kind::List { elements: self.copies(elements)?, optional: optional.clone() }
            }
            Kind::Map(entries) => {
                let mut copied = Vec::with_capacity(entries.len());
                for Entry { key, value, optional } in entries {
                    copied.push(Entry { key: self.copy(key)?, value: self.copy(value)?, optional: *optional });
                }
                Kind::Map(copied)
            }
            Kind::Struct { name, fields } => {
                let mut copied = Vec::with_capacity(fields.len());
                for FieldInit { name, value, optional, .. } in fields {
                    let id = self.parser.id_at(self.place)?;
                    copied.push(FieldInit { id, name: name.clone(), value: self.copy(value)?, optional: *optional });
                }
                Kind::Struct { name: name.clone(), fields: copied }
            }
            Kind::Comprehension(fold) => Kind::Comprehension(Box::new(Comprehension {
                range: self.copy(&fold.range)?,
                variable: fold.variable.clone(),
                second: fold.second.clone(),
                accumulator: fold.accumulator.clone(),
                init: self.copy(&fold.init)?,
                condition: self.copy(&fold.condition)?,
                step: self.copy(&fold.step)?,
                result: self.copy(&fold.result)?,
            })),
        };
        self.node(kind)
    }
}
